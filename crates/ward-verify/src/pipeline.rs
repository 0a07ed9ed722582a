//! Work on many lines at once: each line's own, costly part in any thread, the rest in this one and in order.
//!
//! So the outcome does not depend on the number of threads.

use crate::failure::Failure;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use ward_log::{AuditKeys, PreparedLine};

/// How many bytes of lines are handed to a thread at once.
const BATCH: usize = 0x4_0000;

type Batch = Vec<PreparedLine>;

/// What the threads share.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(u64, Batch)>,
    done: BTreeMap<u64, Batch>,
    closed: bool,
    /// A thread has ended early.
    broken: bool,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        // every change of the state is whole
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, number: u64, batch: Batch) {
        self.state().waiting.push_back((number, batch));
        self.changed.notify_one();
    }

    fn finished(&self, number: u64, batch: Batch) {
        self.state().done.insert(number, batch);
        self.changed.notify_all();
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What a further thread does until the desk is closed.
    fn work(&self, keys: &AuditKeys) {
        let guard = Guard(self);
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && !state.closed {
                state = self.wait(state);
            }
            let Some((number, mut batch)) = state.waiting.pop_front() else {
                break;
            };
            drop(state);
            prepare(&mut batch, keys);
            self.finished(number, batch);
        }
        std::mem::forget(guard);
    }

    /// Batch `number`, once it is prepared; this thread helps meanwhile. None when a thread has died with it.
    fn take(&self, number: u64, keys: &AuditKeys) -> Option<Batch> {
        let mut state = self.state();
        loop {
            if let Some(batch) = state.done.remove(&number) {
                return Some(batch);
            }
            if state.broken {
                return None;
            }
            state = match state.waiting.pop_front() {
                None => self.wait(state),
                Some((other, mut batch)) => {
                    drop(state);
                    prepare(&mut batch, keys);
                    if other == number {
                        return Some(batch);
                    }
                    self.finished(other, batch);
                    self.state()
                }
            };
        }
    }
}

/// Says so when a thread ends although it should not.
struct Guard<'a>(&'a Desk);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.state().broken = true;
        self.0.changed.notify_all();
    }
}

/// Ends the threads however the work ends.
struct Closing<'a>(&'a Desk);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn prepare(batch: &mut Batch, keys: &AuditKeys) {
    for line in batch {
        line.prepare(keys);
    }
}

/// Hands every line that `read` fills in to `take`, prepared and in order. `read` says whether there was one more.
/// `jobs` threads work, this one among them; memory is bounded by a few batches for each.
pub fn run(
    jobs: usize,
    keys: &AuditKeys,
    read: &mut dyn FnMut(&mut Vec<u8>) -> Result<bool, Failure>,
    take: &mut dyn FnMut(&mut PreparedLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let jobs = jobs.max(1);
    let ahead = if jobs == 1 { 1 } else { 3 * jobs as u64 };
    let desk = Desk {
        state: Mutex::default(),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        let closing = Closing(&desk);
        for _ in 1..jobs {
            scope.spawn(|| desk.work(keys));
        }
        let (mut put, mut next) = (0, 0);
        let mut ended = false;
        let mut spare: Vec<PreparedLine> = Vec::new();
        loop {
            while !ended && put < next + ahead {
                let mut batch = Vec::new();
                ended = fill(&mut batch, &mut spare, read)?;
                desk.put(put, batch);
                put += 1;
            }
            if next == put {
                break;
            }
            let batch = desk
                .take(next, keys)
                .ok_or_else(|| Failure::Input("a thread of the verification has failed".into()))?;
            next += 1;
            for mut line in batch {
                take(&mut line)?;
                spare.push(line);
            }
        }
        drop(closing);
        Ok(())
    })
}

/// Reads a batch; true when the input has ended.
fn fill(
    batch: &mut Batch,
    spare: &mut Vec<PreparedLine>,
    read: &mut dyn FnMut(&mut Vec<u8>) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut size = 0;
    while size < BATCH {
        let mut line = spare.pop().unwrap_or_default();
        let text = line.text();
        text.clear();
        if !read(text)? {
            return Ok(true);
        }
        // what a line takes beside its text counts, too: a hostile export has many empty ones
        size += text.len() + size_of::<PreparedLine>();
        batch.push(line);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_empty_lines_ends() {
        let mut lines = 0;
        let mut read = |_: &mut Vec<u8>| {
            lines += 1;
            assert!(lines <= BATCH / size_of::<PreparedLine>() + 1);
            Ok(true)
        };
        let mut batch = Vec::new();
        let ended = fill(&mut batch, &mut Vec::new(), &mut read);
        assert!(matches!(ended, Ok(false)));
        assert_eq!(batch.len(), lines);
    }
}
