//! The runtime of a generator: one thread with all its tasks. (I/O.)

use std::io;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// A runtime whose tasks share a thread, and so need no locks between them.
///
/// Connections and workers are tasks of the runtime itself. In a `LocalSet` on a runtime, each answer would cross
/// from the one queue of tasks to the other, and ask the kernel once more for what is new.
///
/// # Errors
/// When the kernel has no more file descriptors.
pub fn local() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}
