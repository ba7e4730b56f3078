//! Bounds what a parser of JSON takes.

use std::cell::Cell;
use std::io::Read;

use crate::error::{Error, Place};
use crate::import::input::{Input, MOST_BYTES};

/// Arrays and objects that lie in each other at most.
const MOST_DEPTH: usize = 64;
/// Bytes of a number or a word.
const MOST_TOKEN: usize = 256;

/// Watches over the bytes that a parser takes: it would hold a text of any length.
pub(super) struct Guard<'a, 'i> {
    input: &'a mut Input<'i>,
    buffer: Vec<u8>,
    next: usize,
    end: usize,
    place: &'a Cell<Place>,
    /// Bytes of the text that is being read.
    text: Option<usize>,
    escaped: bool,
    depth: usize,
    token: usize,
}

impl<'a, 'i> Guard<'a, 'i> {
    /// Says where it is in `place`.
    pub(super) fn new(input: &'a mut Input<'i>, place: &'a Cell<Place>) -> Self {
        Self {
            input,
            buffer: vec![0; 16 << 10],
            next: 0,
            end: 0,
            place,
            text: None,
            escaped: false,
            depth: 0,
            token: 0,
        }
    }

    fn fill(&mut self) -> std::io::Result<bool> {
        if self.next == self.end {
            self.next = 0;
            self.end = self.input.read(&mut self.buffer)?;
        }
        Ok(self.next < self.end)
    }

    /// Whether another document follows; what may stand between two of them is skipped.
    pub(super) fn document(&mut self) -> Result<bool, Error> {
        loop {
            let place = self.place.get();
            if !self
                .fill()
                .map_err(|error| crate::import::input::failed(place, &error))?
            {
                return Ok(false);
            }
            match self.buffer[self.next] {
                // Also the mark of a record of RFC 7464.
                b' ' | b'\t' | b'\r' | b'\n' | 0x1e => {
                    self.moved(self.buffer[self.next]);
                    self.next += 1;
                }
                b'{' | b'[' => {
                    self.depth = 0;
                    return Ok(true);
                }
                _ => {
                    return Err(Error::input(
                        place,
                        "an object or an array of JSON is expected here",
                    ));
                }
            }
        }
    }

    fn moved(&self, byte: u8) {
        let mut place = self.place.get();
        place.byte += 1;
        place.line += u64::from(byte == b'\n');
        self.place.set(place);
    }

    fn watch(&mut self, byte: u8) -> std::io::Result<()> {
        self.moved(byte);
        if let Some(length) = self.text {
            self.text = Some(length + 1);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.text = None,
                _ if length >= MOST_BYTES => {
                    return Err(std::io::Error::other("a text is longer than 1 MiB"));
                }
                _ => {}
            }
            return Ok(());
        }
        self.token = if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':') {
            0
        } else {
            self.token + 1
        };
        match byte {
            b'"' => (self.text, self.token) = (Some(0), 0),
            b'{' | b'[' if self.depth >= MOST_DEPTH => {
                return Err(std::io::Error::other(
                    "arrays and objects lie deeper than 64",
                ));
            }
            b'{' | b'[' => (self.depth, self.token) = (self.depth + 1, 0),
            b'}' | b']' => (self.depth, self.token) = (self.depth.saturating_sub(1), 0),
            _ if self.token > MOST_TOKEN => {
                return Err(std::io::Error::other("a number is longer than 256 bytes"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Read for Guard<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if !self.fill()? {
            return Ok(0);
        }
        let count = out.len().min(self.end - self.next);
        for target in out.iter_mut().take(count) {
            let byte = self.buffer[self.next];
            self.watch(byte)?;
            *target = byte;
            self.next += 1;
        }
        Ok(count)
    }
}
