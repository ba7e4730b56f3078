//! Decoded pieces of a recording, as many as fit into a bounded memory: all copies share them.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::sync::Arc;

use crate::format::{Manifest, Trace};
use crate::{Error, Event};

/// Decoded events that are kept.
const MOST_BYTES: usize = 64 << 20;

struct Held {
    events: Arc<[Event]>,
    used: u64,
}

pub(super) struct Blocks<R> {
    trace: Trace<R>,
    held: HashMap<usize, Held>,
    bytes: usize,
    most_bytes: usize,
    uses: u64,
}

impl<R: Read + Seek> Blocks<R> {
    pub(super) fn new(trace: Trace<R>) -> Self {
        Self {
            trace,
            held: HashMap::new(),
            bytes: 0,
            most_bytes: MOST_BYTES,
            uses: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.most_bytes = bytes;
    }

    pub(super) fn manifest(&self) -> &Manifest {
        self.trace.manifest()
    }

    /// The block that an event lies in, and its place there.
    pub(super) fn of(&mut self, event: u64) -> Result<(Arc<[Event]>, usize), Error> {
        let points = &self.trace.manifest().restart_points;
        let index = points
            .partition_point(|point| point.event <= event)
            .saturating_sub(1);
        let place = event - points.get(index).map_or(0, |point| point.event);
        Ok((self.block(index)?, place as usize))
    }

    fn block(&mut self, index: usize) -> Result<Arc<[Event]>, Error> {
        self.uses += 1;
        if let Some(held) = self.held.get_mut(&index) {
            held.used = self.uses;
            return Ok(Arc::clone(&held.events));
        }
        let events: Arc<[Event]> = self.trace.block(index)?.into();
        self.bytes += size_of_val(&*events);
        while self.bytes > self.most_bytes {
            let oldest = self
                .held
                .iter()
                .min_by_key(|(_, held)| held.used)
                .map(|(index, _)| *index);
            match oldest.and_then(|oldest| self.held.remove(&oldest)) {
                Some(held) => self.bytes -= size_of_val(&*held.events),
                None => break,
            }
        }
        self.held.insert(
            index,
            Held {
                events: Arc::clone(&events),
                used: self.uses,
            },
        );
        Ok(events)
    }
}
