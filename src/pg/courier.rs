//! Couriers: background workers that do an errand outside the database and then bring back what came of it. While a
//! courier is out it is connected to no database, so it holds no snapshot and nobody who drops or copies the database
//! waits for it, and the sealing worker that sent it goes on.

use super::worker;
use crate::audit::errand;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::prelude::*;

/// Sends a courier with an errand for `database`. False when no background worker, or no shared memory, is free.
pub fn send(database: pg_sys::Oid, errand: &[u8]) -> bool {
    let length = errand.len();
    // SAFETY: the segment holds the length and as many bytes; nobody else knows it yet. Pinned, it outlives this
    // process, until the courier has read it; where no courier comes it is let go here.
    unsafe {
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        let segment = pg_sys::dsm_create(size_of::<usize>() + length, flags);
        pg_sys::MemoryContextSwitchTo(context);
        if segment.is_null() {
            return false;
        }
        let start = pg_sys::dsm_segment_address(segment).cast::<u8>();
        start.cast::<usize>().write_unaligned(length);
        let bytes = start.add(size_of::<usize>());
        bytes.copy_from_nonoverlapping(errand.as_ptr(), length);
        let handle = pg_sys::dsm_segment_handle(segment);
        pg_sys::dsm_pin_segment(segment);
        let sent = register(database, handle);
        if !sent {
            pg_sys::dsm_unpin_segment(handle);
        }
        pg_sys::dsm_detach(segment);
        sent
    }
}

fn register(database: pg_sys::Oid, handle: pg_sys::dsm_handle) -> bool {
    let builder = BackgroundWorkerBuilder::new("pg_ward courier")
        .set_type("pg_ward courier")
        .set_library("pg_ward")
        .set_function("ward_courier_main")
        .set_argument(Some(pg_sys::Datum::from(database)))
        .set_extra(&handle.to_string())
        .set_restart_time(None)
        .enable_spi_access();
    let mut registration = pg_sys::BackgroundWorker::from(&builder);
    // SAFETY: lives during the call; nobody needs the handle.
    unsafe { pg_sys::RegisterDynamicBackgroundWorker(&mut registration, std::ptr::null_mut()) }
}

/// What the courier was given; None when that is gone.
fn received() -> Option<Vec<u8>> {
    let handle = BackgroundWorker::get_extra().parse().ok()?;
    // SAFETY: the sender wrote the length and the bytes before it registered this process, and pinned the segment,
    // which is let go here once.
    unsafe {
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let segment = pg_sys::dsm_attach(handle);
        pg_sys::MemoryContextSwitchTo(context);
        if segment.is_null() {
            return None;
        }
        pg_sys::dsm_unpin_segment(handle);
        let start = pg_sys::dsm_segment_address(segment).cast::<u8>();
        let length = start.cast::<usize>().read_unaligned();
        let room = pg_sys::dsm_segment_map_length(segment) - size_of::<usize>();
        let bytes = start.add(size_of::<usize>());
        let errand = (length <= room).then(|| std::slice::from_raw_parts(bytes, length).to_vec());
        pg_sys::dsm_detach(segment);
        errand
    }
}

/// Entry point of a courier; the argument is the database's oid.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn ward_courier_main(arg: pg_sys::Datum) {
    worker::handle_signals();
    let database = pg_sys::Oid::from(arg.value() as u32);
    if let Some(errand) = received() {
        errand::run(database, &errand);
    }
}

/// Connects the courier to the database it was sent from.
pub fn come_back(database: pg_sys::Oid) {
    pgrx::check_for_interrupts!();
    worker::connect(database);
}
