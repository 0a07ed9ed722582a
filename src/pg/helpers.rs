//! Parallel workers that prepare the leaves of segments for a verification, as PostgreSQL's own parallel
//! queries use them: they see the leader's snapshot, end with it, and their errors are its errors.
//!
//! The pages of the segments are cut into tasks. Workers prepare tasks ahead of the leader, into slots of
//! shared memory; the leader verifies in order, and does all of a task itself that nobody has begun. So no worker is
//! needed for the result, and none changes it. What a worker prepares is read twice, by it and by the leader: where
//! the leader has caught up, workers go on some tasks ahead of it and leave it those in between.

use super::{process, segment};
use pgrx::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ward_log::Prepared;

/// Pages of a task.
const TASK_PAGES: u32 = 32;
/// Leaves of a task that are prepared; there are seldom more.
const CAPACITY: usize = 4096;
/// How many tasks may be prepared ahead for each process.
const AHEAD: u64 = 16;
/// How many tasks are left to a leader that has caught up.
const LEFT: u64 = 4;
/// How long to wait when there is nothing to do.
const PAUSE: Duration = Duration::from_millis(1);
const KEY: u64 = 1;

/// Pages of a segment, from `first` on.
pub struct Pages {
    /// The segment's table.
    pub table: pg_sys::Oid,
    /// The first page.
    pub first: u32,
    /// How many pages follow from there.
    pub count: u32,
}

#[repr(C)]
struct Header {
    /// No task from this one on has been begun by a worker.
    next: AtomicU64,
    /// Tasks below this one are done with.
    passed: AtomicU64,
    tasks: u64,
    parts: u64,
    slots: u64,
}

#[repr(C)]
struct Part {
    table: u32,
    first_page: u32,
    pages: u32,
    first_task: u64,
}

#[repr(C)]
struct Slot {
    /// The task that somebody has begun last of those that use the slot, plus one.
    begun: AtomicU64,
    /// The task whose leaves are here, plus one.
    holds: AtomicU64,
    count: u64,
    leaves: [[u8; Prepared::LEN]; CAPACITY],
}

/// The memory that leader and workers share: header, parts, slots.
#[derive(Clone, Copy)]
struct Shared {
    header: *const Header,
    parts: *const Part,
    slots: *mut Slot,
}

const fn aligned(size: usize) -> usize {
    size.next_multiple_of(align_of::<Slot>())
}

impl Shared {
    fn size(parts: usize, slots: usize) -> usize {
        aligned(size_of::<Header>())
            + aligned(parts * size_of::<Part>())
            + slots * size_of::<Slot>()
    }

    /// # Safety
    /// `base` points to memory of the size for so many parts, aligned for them all.
    unsafe fn at(base: *mut u8, parts: usize) -> Shared {
        // SAFETY: the caller's promise.
        unsafe {
            let parts_at = base.add(aligned(size_of::<Header>()));
            Shared {
                header: base.cast(),
                parts: parts_at.cast(),
                slots: parts_at.add(aligned(parts * size_of::<Part>())).cast(),
            }
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the memory stays until the leader has seen all workers end; the plain fields are written
        // before any worker starts.
        unsafe { &*self.header }
    }

    fn parts(&self) -> &[Part] {
        // SAFETY: as many parts as the header says were written before any worker started.
        unsafe { std::slice::from_raw_parts(self.parts, self.header().parts as usize) }
    }

    fn slot(&self, task: u64) -> *mut Slot {
        // SAFETY: there are `slots` slots.
        unsafe { self.slots.add((task % self.header().slots) as usize) }
    }

    /// Takes a task ahead of the leader that nobody has begun and for which there is a slot.
    fn claim(&self) -> Option<u64> {
        let header = self.header();
        let next = header.next.load(Ordering::Acquire);
        let passed = header.passed.load(Ordering::Acquire);
        let caught_up = next <= passed.saturating_add(1);
        let task = next.max(if caught_up {
            passed.saturating_add(LEFT)
        } else {
            0
        });
        if task >= header.tasks.min(passed.saturating_add(header.slots)) {
            return None;
        }
        header
            .next
            .compare_exchange(next, task + 1, Ordering::AcqRel, Ordering::Relaxed)
            .ok()
            .filter(|_| self.begin(task))
            .map(|_| task)
    }

    /// Begins a task, unless somebody has.
    fn begin(&self, task: u64) -> bool {
        // SAFETY: the slot stays, and this part of it is atomic.
        let begun = unsafe { &(*self.slot(task)).begun };
        begun.fetch_max(task + 1, Ordering::AcqRel) <= task
    }

    fn is_all_begun(&self) -> bool {
        self.header().next.load(Ordering::Acquire) >= self.header().tasks
    }

    /// Prepares a task's leaves into its slot.
    fn prepare(&self, task: u64) {
        let parts = self.parts();
        let at = parts.partition_point(|part| part.first_task <= task);
        let Some(part) = at.checked_sub(1).and_then(|at| parts.get(at)) else {
            return;
        };
        let skipped = (task - part.first_task) as u32 * TASK_PAGES;
        let first = part.first_page + skipped;
        let pages = TASK_PAGES.min(part.pages - skipped);
        let slot = self.slot(task);
        // SAFETY: leaves and count belong to whoever has begun the task, until `holds` says so; others use the rest of the slot.
        let (leaves, count_of) = unsafe { (&mut (*slot).leaves, &mut (*slot).count) };
        let mut count = 0;
        segment::scan_pages(part.table.into(), first, pages, |stored| {
            segment::each_leaf(0, stored.records, |_, leaf, image| {
                if let Some(place) = leaves.get_mut(count) {
                    *place = Prepared::new(leaf, image).to_bytes();
                    count += 1;
                }
            });
            count < CAPACITY
        });
        *count_of = count as u64;
        // SAFETY: the slot stays, and this part of it is atomic.
        unsafe { &(*slot).holds }.store(task + 1, Ordering::Release);
    }
}

/// Workers, and the leader's way through what they prepare.
pub struct Helpers {
    context: *mut pg_sys::ParallelContext,
    shared: Shared,
    /// The task whose leaves the leader reads, and how many of them it has read.
    current: Option<u64>,
    read: usize,
    /// How many leaves of the current task are prepared.
    prepared: usize,
    abandoned: bool,
}

impl Helpers {
    /// Starts up to `workers` workers on these pages. Until the helpers are dropped the transaction cannot write.
    pub fn start(workers: u32, pages: &[Pages]) -> Helpers {
        let tasks = pages.iter().map(|part| part.count.div_ceil(TASK_PAGES));
        let tasks: u64 = tasks.map(u64::from).sum();
        let slots = ((u64::from(workers) + 1) * AHEAD).min(tasks.max(1));
        let size = Shared::size(pages.len(), slots as usize);
        // SAFETY: the order of calls that access/parallel.h prescribes; the memory is as large as asked for, and
        // aligned as palloc aligns. At an error PostgreSQL ends the workers and frees all of it.
        unsafe {
            pg_sys::EnterParallelMode();
            let context = pg_sys::CreateParallelContext(
                c"pg_ward".as_ptr(),
                c"ward_verify_helper".as_ptr(),
                workers as i32,
            );
            // what the macros shm_toc_estimate_chunk and shm_toc_estimate_keys do
            let align = pg_sys::ALIGNOF_BUFFER as usize;
            (*context).estimator.space_for_chunks += size.next_multiple_of(align);
            (*context).estimator.number_of_keys += 1;
            pg_sys::InitializeParallelDSM(context);
            let base = pg_sys::shm_toc_allocate((*context).toc, size).cast::<u8>();
            base.write_bytes(0, size);
            let shared = Shared::at(base, pages.len());
            let mut first_task = 0;
            for (number, pages) in pages.iter().enumerate() {
                shared.parts.cast_mut().add(number).write(Part {
                    table: pages.table.to_u32(),
                    first_page: pages.first,
                    pages: pages.count,
                    first_task,
                });
                first_task += u64::from(pages.count.div_ceil(TASK_PAGES));
            }
            shared.header.cast_mut().write(Header {
                next: AtomicU64::new(0),
                passed: AtomicU64::new(0),
                tasks,
                parts: pages.len() as u64,
                slots,
            });
            pg_sys::shm_toc_insert((*context).toc, KEY, base.cast());
            pg_sys::LaunchParallelWorkers(context);
            Helpers {
                context,
                shared,
                current: None,
                read: 0,
                prepared: 0,
                abandoned: false,
            }
        }
    }

    /// What was found out about the next leaf, which lies on page `page` of part `part`; None when the leader has to
    /// do it itself. Call it for every leaf, in the order in which they lie in the segment.
    pub fn next(&mut self, part: usize, page: u32) -> Option<Prepared> {
        let part = self.shared.parts().get(part).filter(|_| !self.abandoned)?;
        let page = page
            .checked_sub(part.first_page)
            .filter(|page| *page < part.pages)?;
        let task = part.first_task + u64::from(page / TASK_PAGES);
        // Those without any leaf too: their slots are free only when whoever has claimed them is done.
        for passing in self.current.map_or(0, |current| current + 1)..=task {
            self.enter(passing);
        }
        if self.current != Some(task) {
            return None;
        }
        if self.read >= self.prepared {
            return None;
        }
        // SAFETY: the slot holds the task, and is not written to before the leader has passed it.
        let bytes = unsafe { (*self.shared.slot(task)).leaves.get(self.read)? };
        self.read += 1;
        Some(Prepared::from_bytes(bytes))
    }

    fn enter(&mut self, task: u64) {
        self.current = Some(task);
        self.read = 0;
        self.prepared = 0;
        self.shared.header().passed.store(task, Ordering::Release);
        if self.shared.begin(task) {
            // nobody was faster: it is verified as it is read
            return;
        }
        let slot = self.shared.slot(task);
        // SAFETY: the slot stays; `count` is read after `holds` says that it is written.
        while unsafe { &(*slot).holds }.load(Ordering::Acquire) != task + 1 {
            match self.shared.claim() {
                Some(claimed) => self.shared.prepare(claimed),
                None => process::nap(PAUSE),
            }
        }
        // SAFETY: as above.
        self.prepared = unsafe { (*slot).count } as usize;
    }

    /// Does without the workers from here on.
    pub fn abandon(&mut self) {
        self.abandoned = true;
        let header = self.shared.header();
        header.next.store(header.tasks, Ordering::Release);
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        // while an error unwinds, the transaction's end does all of it
        if std::thread::panicking() {
            return;
        }
        self.abandon();
        // SAFETY: the context was made in `start` and is used nowhere else.
        unsafe {
            pg_sys::WaitForParallelWorkersToFinish(self.context);
            pg_sys::DestroyParallelContext(self.context);
            pg_sys::ExitParallelMode();
        }
    }
}

/// What a worker does. Called by PostgreSQL's parallel workers by name.
///
/// # Safety
/// `toc` is the one the leader made.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_verify_helper(
    _segment: *mut pg_sys::dsm_segment,
    toc: *mut pg_sys::shm_toc,
) {
    // SAFETY: the leader has put the memory there, and the number of parts into its header.
    let shared = unsafe {
        let base = pg_sys::shm_toc_lookup(toc, KEY, false).cast::<u8>();
        let parts = (*base.cast::<Header>()).parts;
        Shared::at(base, parts as usize)
    };
    while !shared.is_all_begun() {
        match shared.claim() {
            Some(task) => shared.prepare(task),
            None => process::nap(PAUSE),
        }
    }
}
