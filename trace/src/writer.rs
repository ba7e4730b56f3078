//! Writes a trace, one event after the other.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::format::{
    API_VERSION, EVENTS_FILE, Event, HEADER, MANIFEST_FILE, MOST_IN_BLOCK, Manifest, RestartPoint,
    Source, hex,
};
use crate::grammar::{Checker, Repairs};
use crate::sort::temporary;

/// Events between two restart points, by default.
pub const RESTART_EVERY: u64 = 8_192;

/// What cannot be seen from the events.
#[derive(Clone, Debug)]
pub struct Description {
    /// From what kind of record the trace is made.
    pub source: Source,
    /// How, in words.
    pub method: String,
    /// When the recording began, as RFC 3339.
    pub started_at: Option<String>,
    /// Length of the recording; by default it ends a microsecond after its last event.
    pub span_micros: Option<u64>,
}

/// Counts and digests what goes into the file.
struct Counted<W> {
    inner: W,
    bytes: u64,
    digest: Sha256,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a trace into a folder. The folder holds one only after [`Writer::finish`]: `trace.json` comes last.
pub struct Writer {
    folder: PathBuf,
    file: Option<Counted<BufWriter<File>>>,
    checker: Checker,
    /// Lines of the member that is being filled.
    block: String,
    points: Vec<RestartPoint>,
    restart_every: u64,
    lines: u64,
    uncompressed: u64,
}

/// Makes a folder that holds no trace, if need be.
fn prepare(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    let manifest = folder.join(MANIFEST_FILE);
    if manifest.exists() {
        return Err(Error::Exists(manifest));
    }
    Ok(())
}

impl Writer {
    /// Whether a trace can be begun in a folder, which is made if need be: to be asked before anything is read that nobody can
    /// read again, for a trace is written when all of it is there.
    ///
    /// # Errors
    /// No file can be made in it, its table cannot be written, or it holds a trace.
    pub fn may_begin(folder: &Path) -> Result<(), Error> {
        prepare(folder)?;
        let events = folder.join(EVENTS_FILE);
        if events.exists() {
            // What was left of a trace that was given up. Nothing of it is changed.
            let opened = File::options().append(true).open(&events);
            opened.map_err(Error::file("write", &events))?;
        }
        temporary(folder).map(drop)
    }

    /// Begins a trace in a folder, which is made if need be.
    ///
    /// # Errors
    /// It cannot be written to, or holds a trace.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        prepare(folder)?;
        let path = folder.join(EVENTS_FILE);
        let file = File::create(&path).map_err(Error::file("write", &path))?;
        let mut writer = Self {
            folder: folder.to_owned(),
            file: Some(Counted {
                inner: BufWriter::new(file),
                bytes: 0,
                digest: Sha256::new(),
            }),
            checker: Checker::new(None),
            block: format!("{HEADER}\n"),
            points: Vec::new(),
            restart_every: RESTART_EVERY,
            lines: 0,
            uncompressed: 0,
        };
        // A member of its own: all others hold lines of events only.
        writer.end_member()?;
        Ok(writer)
    }

    /// Sets the number of events between two restart points, 1 to 65536: fewer make a larger file, in which reading begins
    /// sooner.
    #[must_use]
    pub fn restart_every(mut self, events: u64) -> Self {
        self.restart_every = events.clamp(1, MOST_IN_BLOCK);
        self
    }

    /// Appends an event.
    ///
    /// # Errors
    /// It does not follow from those before it, or cannot be written.
    pub fn push(&mut self, event: Event) -> Result<(), Error> {
        // The header is line 1.
        self.checker.admit(self.lines + 2, event)?;
        if self.lines.is_multiple_of(self.restart_every) {
            self.end_member()?;
            self.points.push(RestartPoint {
                event: self.lines,
                uncompressed_offset: self.uncompressed,
                compressed_offset: self.file.as_ref().map_or(0, |file| file.bytes),
                at_micros: event.at_micros,
            });
        }
        event.write_line(&mut self.block);
        self.lines += 1;
        Ok(())
    }

    fn end_member(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else {
            return Err(Error::Options(
                "the trace could not be written and is given up".to_owned(),
            ));
        };
        if self.block.is_empty() {
            self.file = Some(file);
            return Ok(());
        }
        // Without a time: the same events make the same file.
        let mut member: GzEncoder<_> = GzBuilder::new().write(file, Compression::default());
        let written = member
            .write_all(self.block.as_bytes())
            .and_then(|()| member.finish());
        self.file = Some(written.map_err(Error::file("write", &self.folder.join(EVENTS_FILE)))?);
        self.uncompressed += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Ends the trace and describes it. `repairs` is what was done to the events on their way here.
    ///
    /// # Errors
    /// It cannot be written, or the stated length ends before the last event.
    pub fn finish(
        mut self,
        description: Description,
        repairs: &Repairs,
    ) -> Result<Manifest, Error> {
        self.end_member()?;
        let events = self.folder.join(EVENTS_FILE);
        let Some(mut file) = self.file.take() else {
            return Err(Error::Options(
                "the trace could not be written and is given up".to_owned(),
            ));
        };
        file.flush().map_err(Error::file("write", &events))?;
        let shortest = self.checker.shortest_span();
        let span_micros = description.span_micros.unwrap_or(shortest);
        if span_micros < shortest {
            return Err(Error::Options(format!(
                "the recording is to last {span_micros} microseconds, its last event comes at {}",
                shortest - 1
            )));
        }
        let measured = self.checker.finish(span_micros);
        let manifest = Manifest {
            api_version: API_VERSION.to_owned(),
            source: description.source,
            method: description.method,
            started_at: description.started_at,
            span_micros,
            runs: measured.runs,
            counts: measured.counts,
            open: measured.open,
            dropped: repairs.dropped(),
            repaired: repairs.repaired(),
            quantiles: measured.quantiles,
            sha256: hex(&file.digest.finalize()),
            restart_points: self.points,
        };
        let path = self.folder.join(MANIFEST_FILE);
        fs::write(&path, manifest.to_json()).map_err(Error::file("write", &path))?;
        Ok(manifest)
    }
}
