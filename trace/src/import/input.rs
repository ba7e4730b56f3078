//! An input that knows where it is, and hands out no more of a thing than is allowed.

use std::io::{BufRead, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Place};

/// The longest line of a table, and the longest tag or text of an XML document, in bytes.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Bytes of an input, decompressed.
pub(super) struct Input<'a> {
    inner: Box<dyn BufRead + 'a>,
    place: Place,
    /// Bytes that may still be read before [`Input::allow`] is asked again.
    allowed: usize,
}

impl<'a> Input<'a> {
    /// Finds out whether the input is compressed, and skips the mark of UTF-8.
    pub(super) fn new(mut raw: impl Read + 'a) -> Result<Self, Error> {
        let start = first(&mut raw, 2)?;
        let compressed = start == [0x1f, 0x8b];
        let raw = Cursor::new(start).chain(raw);
        let mut text: Box<dyn Read + 'a> = match compressed {
            true => Box::new(MultiGzDecoder::new(raw)),
            false => Box::new(raw),
        };
        let mut start = first(&mut text, 3)?;
        if start == [0xef, 0xbb, 0xbf] {
            start.clear();
        }
        Ok(Self {
            inner: Box::new(BufReader::with_capacity(
                16 << 10,
                Cursor::new(start).chain(text),
            )),
            place: Place { line: 1, byte: 0 },
            allowed: usize::MAX,
        })
    }

    /// Where the next byte stands.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Sets how many bytes may be read from here on.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
    }

    /// Reads a line with its end into `line`, which it clears. False at the end of the input.
    pub(super) fn line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        line.clear();
        self.allow(MOST_BYTES);
        let place = self.place;
        let read = self.read_until(b'\n', line);
        self.allow(usize::MAX);
        read.map(|count| count > 0)
            .map_err(|error| failed(place, &error))
    }
}

/// What a reader says, with a place.
pub(super) fn failed(place: Place, error: &std::io::Error) -> Error {
    Error::input(place, format!("cannot be read: {error}"))
}

fn first(input: &mut impl Read, count: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = input.take(count).read_to_end(&mut bytes);
    read.map_err(Error::io("read the input"))?;
    Ok(bytes)
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        let bytes = self.inner.fill_buf()?;
        if self.allowed == 0 && !bytes.is_empty() {
            return Err(std::io::Error::other(
                "a line, tag or text is longer than 1 MiB",
            ));
        }
        Ok(&bytes[..bytes.len().min(self.allowed)])
    }

    fn consume(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        if let Ok(bytes) = self.inner.fill_buf() {
            let lines = bytes
                .iter()
                .take(count)
                .filter(|byte| **byte == b'\n')
                .count();
            self.place.line += lines as u64;
        }
        self.inner.consume(count);
        self.place.byte += count as u64;
        if self.allowed != usize::MAX {
            self.allowed -= count.min(self.allowed);
        }
    }
}
