//! `loadgen`: generates load, measures, checks, reports. See `loadgen --help`.
//!
//! Exit codes: 0 done; 1 failed, and another attempt would fail too; 2 wrong usage; 3 failed, and
//! another attempt could do better; 4 stopped by a signal, resumable; 5 a standalone run that
//! finished but did not pass (an invalid trial, a violated check, an objective not met).

use std::process::ExitCode;

fn main() -> ExitCode {
    bakeoff_loadgen::cli::main()
}
