//! What recording costs: nanoseconds for each operation, with warm caches, best of several rounds.
//! `cargo bench -p bakeoff-loadgen --bench record`, or `bench/run record`. Figures, never a verdict.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;

use bakeoff_loadgen::failure::{Failure, FailureClass};
use bakeoff_loadgen::instrument::clock::{self, SECOND};
use bakeoff_loadgen::instrument::record::{Operation, Recorder, Sample};

const OPERATIONS: u64 = 2_000_000;
const ROUNDS: usize = 5;
/// Operations of a second of the window: what a busy generator sees.
const PER_SECOND: u64 = 100_000;

fn measure(name: &str, mut each: impl FnMut(&mut Recorder, u64, u64), open: bool) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let end = OPERATIONS / PER_SECOND * SECOND;
        let mut recorder =
            Recorder::new(0, end, 0, open, &[Operation::Put], Arc::default()).unwrap();
        let start = clock::now();
        let mut latency = 1_u64;
        for index in 0..OPERATIONS {
            // Latencies spread over three decades, as real ones are, without a random generator.
            latency = latency
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let planned = index * (SECOND / PER_SECOND);
            each(&mut recorder, planned, 100_000 + (latency >> 40));
        }
        best = best.min((clock::now() - start) as f64 / OPERATIONS as f64);
        std::hint::black_box(recorder.finish().unwrap());
    }
    println!("{name:44} {best:8.1} ns");
}

fn sample(planned: u64, latency: u64) -> Sample {
    Sample {
        member: planned,
        planned,
        sent: planned + 20_000,
        ended: planned + latency,
        bytes: 4_096,
        queued: false,
    }
}

fn main() {
    measure(
        "one operation, closed load",
        |recorder, planned, latency| recorder.success(Operation::Put, sample(planned, latency)),
        false,
    );
    measure(
        "one operation, open load, with service and lags",
        |recorder, planned, latency| {
            recorder.success(Operation::Put, sample(planned, latency));
        },
        true,
    );
    let failure = Failure::new(FailureClass::Throttled, "slow down");
    measure(
        "one failure",
        |recorder, planned, latency| {
            recorder.failure(
                Operation::Put,
                planned,
                planned,
                planned + latency,
                &failure,
            );
        },
        true,
    );
    let start = clock::now();
    for _ in 0..OPERATIONS {
        std::hint::black_box(clock::now());
    }
    let each = (clock::now() - start) as f64 / OPERATIONS as f64;
    println!("{:44} {each:8.1} ns", "one look at the clock");
}
