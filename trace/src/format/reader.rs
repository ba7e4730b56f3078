//! Reads a trace, from its beginning or from a restart point.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use sha2::{Digest as _, Sha256};

use super::{EVENTS_FILE, Event, HEADER, MANIFEST_FILE, MOST_IN_BLOCK, Manifest, hex, parse};
use crate::error::{Error, Place};

/// The longest `trace.json` that is read: some two thousand million events.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;
/// The longest line: three numbers, a letter and what separates them.
const MOST_LINE_BYTES: u64 = 64;

/// A trace that is read.
pub struct Trace<R> {
    manifest: Manifest,
    events: R,
}

impl Trace<File> {
    /// Opens the trace of a folder. That its events are those of `trace.json` is asked of [`Trace::verify`].
    ///
    /// # Errors
    /// There is none, or its description cannot be read.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST_FILE);
        let mut json = Vec::new();
        let file = File::open(&path).map_err(Error::file("read", &path))?;
        file.take(MOST_MANIFEST_BYTES + 1)
            .read_to_end(&mut json)
            .map_err(Error::file("read", &path))?;
        if json.len() as u64 > MOST_MANIFEST_BYTES {
            return Err(Error::Manifest("it is larger than 64 MiB".to_owned()));
        }
        let events = folder.join(EVENTS_FILE);
        let events = File::open(&events).map_err(Error::file("read", &events))?;
        Ok(Self::new(Manifest::read(&json)?, events))
    }
}

impl<R: Read + Seek> Trace<R> {
    /// A trace of which description and events are at hand.
    pub fn new(manifest: Manifest, events: R) -> Self {
        Self { manifest, events }
    }

    /// What the trace is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads the whole file and holds it against the digest of `trace.json`.
    ///
    /// # Errors
    /// It is another file, or cannot be read.
    pub fn verify(&mut self) -> Result<(), Error> {
        self.seek(0)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self
                .events
                .read(&mut buffer)
                .map_err(Error::io("read events.csv.gz"))?
            {
                0 => break,
                count => digest.update(&buffer[..count]),
            }
        }
        let found = hex(&digest.finalize());
        if found == self.manifest.sha256 {
            return Ok(());
        }
        Err(Error::Changed {
            stated: self.manifest.sha256.clone(),
            found,
        })
    }

    fn seek(&mut self, offset: u64) -> Result<(), Error> {
        let moved = self.events.seek(SeekFrom::Start(offset));
        moved.map(|_| ()).map_err(Error::io("read events.csv.gz"))
    }

    /// All events, from the first one.
    ///
    /// # Errors
    /// The file cannot be read, or does not begin with the header.
    pub fn events(&mut self) -> Result<Events<impl BufRead + '_>, Error> {
        self.seek(0)?;
        Events::new(BufReader::new(MultiGzDecoder::new(BufReader::new(
            &mut self.events,
        ))))
    }

    /// The events from a restart point to the next one.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold them there.
    pub(crate) fn block(&mut self, index: usize) -> Result<Vec<Event>, Error> {
        let points = &self.manifest.restart_points;
        let Some(point) = points.get(index).copied() else {
            return Ok(Vec::new());
        };
        let end = points
            .get(index + 1)
            .map_or(self.manifest.counts.lines(), |next| next.event);
        let expected = (end - point.event).min(MOST_IN_BLOCK) as usize;
        self.seek(point.compressed_offset)?;
        let member = BufReader::new(GzDecoder::new(BufReader::new(&mut self.events)));
        let mut events = Events {
            input: member,
            line: point.event + 1,
            byte: point.uncompressed_offset,
            buffer: Vec::new(),
            failed: false,
        };
        let mut block = Vec::with_capacity(expected);
        for event in events.by_ref().take(expected + 1) {
            block.push(event?);
        }
        if block.len() != expected
            || block.first().map(|event| event.at_micros) != Some(point.at_micros)
        {
            return Err(Error::Manifest(format!(
                "restart point {index} is to hold {expected} events from {}, and does not",
                point.at_micros
            )));
        }
        Ok(block)
    }
}

/// Events that are read one after the other. Ends after its first error.
pub struct Events<B> {
    input: B,
    line: u64,
    byte: u64,
    buffer: Vec<u8>,
    failed: bool,
}

impl<B: BufRead> Events<B> {
    /// Events of a table that is not compressed.
    ///
    /// # Errors
    /// It does not begin with the header.
    pub fn new(input: B) -> Result<Self, Error> {
        let mut events = Self {
            input,
            line: 0,
            byte: 0,
            buffer: Vec::new(),
            failed: false,
        };
        if events.read_line()? && events.buffer == HEADER.as_bytes() {
            return Ok(events);
        }
        Err(Error::input(
            Place { line: 1, byte: 0 },
            format!("the first line is to be {HEADER}"),
        ))
    }

    /// The line of the event that was read last, from 1. The header is line 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Whether there was a line; it is in the buffer, without its end.
    fn read_line(&mut self) -> Result<bool, Error> {
        self.buffer.clear();
        let mut limited = self.input.by_ref().take(MOST_LINE_BYTES + 1);
        let count = limited.read_until(b'\n', &mut self.buffer);
        let count = count.map_err(|source| Error::Io {
            what: format!("read events after line {}", self.line),
            source,
        })?;
        if count == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.buffer.pop() != Some(b'\n') {
            let place = Place {
                line: self.line,
                byte: self.byte,
            };
            return Err(Error::input(
                place,
                "the line has no end or is longer than 64 bytes: the file is cut off, or is no trace",
            ));
        }
        self.byte += count as u64;
        Ok(true)
    }

    fn read(&mut self) -> Result<Option<Event>, Error> {
        let byte = self.byte;
        if !self.read_line()? {
            return Ok(None);
        }
        let event = parse(&self.buffer);
        event.map(Some).map_err(|problem| {
            Error::input(
                Place {
                    line: self.line,
                    byte,
                },
                problem,
            )
        })
    }
}

impl<B: BufRead> Iterator for Events<B> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let event = self.read();
        self.failed = event.is_err();
        event.transpose()
    }
}
