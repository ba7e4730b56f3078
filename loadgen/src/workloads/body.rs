//! Object bodies: incompressible, unique for each operation, without a random number generator on
//! the measured path.

use bakeoff_crds::rng::SplitMix64;
use bytes::Bytes;

use crate::drivers::s3::payload::{self, Payload};

const POOL: usize = 1 << 20;

/// The bits of a number in which a worker counts; above them is the worker.
const WORKER: u32 = 40;

/// The number of the `sequence`-th body of a worker. (Pure.)
#[must_use]
pub fn number(worker: usize, sequence: u64) -> u64 {
    ((worker as u64) << WORKER) | sequence
}

/// Makes bodies of one size: a slice of a random buffer at a moving offset, stamped with the number
/// of the operation, so that neither compression nor deduplication gains.
#[derive(Clone, Debug)]
pub struct Bodies {
    pool: Bytes,
    size: usize,
}

impl Bodies {
    /// Bodies of `size` bytes, others for every `label`.
    #[must_use]
    pub fn new(size: usize, seed: u64, label: &str) -> Self {
        let mut pool = vec![0; POOL + size];
        SplitMix64::stream(seed, label).fill(&mut pool);
        Self {
            pool: Bytes::from(pool),
            size,
        }
    }

    /// The bytes of each.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes that those of `size` bytes take, however many there are.
    #[must_use]
    pub fn held(size: usize) -> u64 {
        (POOL + size) as u64
    }

    /// The body of one operation. Its first bytes are the number, 20 decimal digits and a line
    /// feed, as far as the size has room.
    #[must_use]
    pub fn body(&self, number: u64) -> Payload {
        let offset = offset(number);
        let room = STAMP.min(self.size);
        let rest = self.pool.slice(offset + room..offset + self.size);
        Payload::new(stamp(number), room, rest)
    }

    /// Whether the body of one operation begins with these bytes: a stamp alone does not tell that what follows it is its own.
    #[must_use]
    pub fn begins(&self, number: u64, head: &[u8]) -> bool {
        let body = self.body(number);
        let [own, shared] = body.parts();
        let (first, rest) = head.split_at(own.len().min(head.len()));
        own.starts_with(first) && shared.starts_with(rest)
    }
}

/// Where in the pool a body begins. An odd stride visits every place before one comes back, and workers begin far from each other (the
/// golden section of the pool), so that no place is had twice before they have been to most of them together: some stores keep a block
/// of a megabyte once, however often it is written. (Pure.)
fn offset(number: u64) -> usize {
    let (worker, sequence) = (number >> WORKER, number & ((1 << WORKER) - 1));
    let turn = sequence.wrapping_add(worker.wrapping_mul(648_055));
    usize::try_from(turn.wrapping_mul(7_919) % POOL as u64).unwrap_or(0)
}

const STAMP: usize = payload::OWN;

fn stamp(number: u64) -> [u8; STAMP] {
    let mut text = [b'0'; STAMP];
    text[STAMP - 1] = b'\n';
    let mut rest = number;
    for digit in text[..STAMP - 1].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    text
}

/// The number that a body is stamped with; `None` when it bears no stamp.
#[must_use]
pub fn stamped(head: &[u8]) -> Option<u64> {
    let digits = head.get(..STAMP - 1)?;
    if head.get(STAMP - 1) != Some(&b'\n') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_size_and_number_and_differ() {
        let bodies = Bodies::new(4_096, 1, "t");
        let [one, two] = [7, u64::MAX].map(|number| bodies.body(number).parts().concat());
        assert_eq!((one.len(), stamped(&one)), (4_096, Some(7)));
        assert_eq!(stamped(&two), Some(u64::MAX));
        assert_ne!(one[STAMP..], two[STAMP..]);
        assert_eq!(stamped(b"short"), None);
    }

    #[test]
    fn a_tiny_body_keeps_the_low_digits() {
        let bodies = Bodies::new(3, 1, "t");
        assert_eq!(bodies.body(42).parts().concat(), b"42\n");
        assert!(bodies.begins(42, b"42\n") && !bodies.begins(42, b"43\n"));
    }

    /// The numbers of a worker's objects begin anew with each worker.
    #[test]
    fn no_two_workers_write_the_same_block() {
        let all = |workers: usize, each: u64| {
            let numbers = (0..workers).flat_map(|w| (0..each).map(move |n| number(w, n)));
            let places: std::collections::BTreeSet<_> = numbers.map(offset).collect();
            places.len()
        };
        assert_eq!(all(1, 1 << 20), 1 << 20);
        assert_eq!(all(16, 20_000), 16 * 20_000);
        assert_eq!(all(256, 1_000), 256 * 1_000);
        let bodies = Bodies::new(1 << 16, 1, "t");
        let others = Bodies::new(1 << 16, 1, "u");
        assert_ne!(bodies.body(1).parts()[1], others.body(1).parts()[1]);
    }

    #[test]
    fn what_is_torn_is_no_body() {
        let bodies = Bodies::new(256, 1, "t");
        let [one, two] = [7, 8].map(|number| bodies.body(number).parts().concat());
        for length in [0, 10, STAMP, 64, 256] {
            assert!(bodies.begins(7, &one[..length]), "{length}");
        }
        for cut in [STAMP, 100, 255] {
            let torn = [&one[..cut], &two[cut..]].concat();
            assert!(!bodies.begins(7, &torn), "{cut}");
        }
        assert!(!bodies.begins(7, &[&one[..], b"more"].concat()));
        assert!(!bodies.begins(7, &[0; 256]));
    }
}
