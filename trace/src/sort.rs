//! Sorts more records than fit into memory: sorted pieces in temporary files, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crate::Error;

/// Pieces that are merged at a time: bounds the files that are open, and their buffers.
const MOST_PIECES: usize = 64;
const BUFFER_BYTES: usize = 128 << 10;

/// A record of fixed length. Records are all different, so that their order is one.
pub(crate) trait Record: Copy + Ord {
    /// Its length as bytes.
    const BYTES: usize;
    fn write(&self, bytes: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Self;
}

/// Takes the first number off the bytes; 0 where they are too few, which records of fixed length never are.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let Some((first, rest)) = bytes.split_first_chunk::<N>() else {
        return [0; N];
    };
    *bytes = rest;
    *first
}

/// Takes records in any order.
pub(crate) struct Sorter<T> {
    scratch: PathBuf,
    /// Records that are held before they are written out.
    held: Vec<T>,
    most_held: usize,
    pieces: Vec<File>,
}

impl<T: Record> Sorter<T> {
    /// Sorts with so many bytes of memory and the rest in files of this folder, which go away by themselves.
    pub(crate) fn new(scratch: &Path, memory_bytes: usize) -> Self {
        Self {
            scratch: scratch.to_owned(),
            held: Vec::new(),
            most_held: (memory_bytes / size_of::<T>()).max(16),
            pieces: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, record: T) -> Result<(), Error> {
        if self.held.len() >= self.most_held {
            self.spill()?;
        }
        if self.held.len() == self.held.capacity() {
            // By doubling, but never past the bound.
            let more = self
                .held
                .len()
                .max(1_024)
                .min(self.most_held - self.held.len());
            self.held.reserve_exact(more);
        }
        self.held.push(record);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), Error> {
        self.held.sort_unstable();
        let piece = write_piece(&self.scratch, self.held.drain(..).map(Ok))?;
        self.pieces.push(piece);
        if self.pieces.len() >= MOST_PIECES {
            let merged = Merge::<T>::new(std::mem::take(&mut self.pieces))?;
            let piece = write_piece(&self.scratch, merged)?;
            self.pieces.push(piece);
        }
        Ok(())
    }

    /// The records in their order.
    pub(crate) fn finish(mut self) -> Result<Sorted<T>, Error> {
        if self.pieces.is_empty() {
            self.held.sort_unstable();
            return Ok(Sorted::Held(self.held.into_iter()));
        }
        self.spill()?;
        // What was held is not needed while the pieces are merged.
        self.held = Vec::new();
        Ok(Sorted::Merged(Merge::new(self.pieces)?))
    }
}

/// Records in their order.
pub(crate) enum Sorted<T> {
    Held(std::vec::IntoIter<T>),
    Merged(Merge<T>),
}

impl<T: Record> Iterator for Sorted<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Held(records) => records.next().map(Ok),
            Self::Merged(merge) => merge.next(),
        }
    }
}

/// A file that has no name and goes away by itself.
pub(crate) fn temporary(folder: &Path) -> Result<File, Error> {
    tempfile::tempfile_in(folder).map_err(Error::file("make a temporary file in", folder))
}

fn write_piece<T: Record>(
    scratch: &Path,
    records: impl Iterator<Item = Result<T, Error>>,
) -> Result<File, Error> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, temporary(scratch)?);
    let mut bytes = Vec::with_capacity(T::BYTES);
    for record in records {
        bytes.clear();
        record?.write(&mut bytes);
        out.write_all(&bytes)
            .map_err(Error::file("write a temporary file in", scratch))?;
    }
    let file = out
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error);
    file.map_err(Error::file("write a temporary file in", scratch))
}

/// Merges sorted pieces.
pub(crate) struct Merge<T> {
    pieces: Vec<BufReader<File>>,
    next: BinaryHeap<Reverse<(T, usize)>>,
    bytes: Vec<u8>,
    kind: PhantomData<T>,
}

impl<T: Record> Merge<T> {
    fn new(files: Vec<File>) -> Result<Self, Error> {
        let mut pieces = Vec::with_capacity(files.len());
        for mut file in files {
            file.seek(SeekFrom::Start(0))
                .map_err(Error::io("read a temporary file"))?;
            pieces.push(BufReader::with_capacity(BUFFER_BYTES, file));
        }
        let mut merge = Self {
            pieces,
            next: BinaryHeap::new(),
            bytes: vec![0; T::BYTES],
            kind: PhantomData,
        };
        for piece in 0..merge.pieces.len() {
            merge.refill(piece)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, piece: usize) -> Result<(), Error> {
        let reader = &mut self.pieces[piece];
        match reader.read_exact(&mut self.bytes) {
            Ok(()) => self.next.push(Reverse((T::read(&self.bytes), piece))),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(Error::io("read a temporary file")(error)),
        }
        Ok(())
    }
}

impl<T: Record> Iterator for Merge<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, piece)) = self.next.pop()?;
        Some(self.refill(piece).map(|()| record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    impl Record for u64 {
        const BYTES: usize = 8;
        fn write(&self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }
        fn read(mut bytes: &[u8]) -> Self {
            Self::from_le_bytes(take(&mut bytes))
        }
    }

    #[test]
    fn whatever_fits_into_memory_the_order_is_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        let mut rng = SplitMix64::new(3);
        let numbers: Vec<u64> = (0..20_000).map(|_| rng.next_u64()).collect();
        let mut expected = numbers.clone();
        expected.sort_unstable();
        // All at once; few pieces; more pieces than are merged at a time.
        for memory in [1 << 20, 40_000, 800] {
            let mut sorter = Sorter::new(scratch.path(), memory);
            for number in &numbers {
                sorter.push(*number).unwrap();
            }
            let sorted: Vec<u64> = sorter.finish().unwrap().map(Result::unwrap).collect();
            assert_eq!(sorted, expected, "{memory}");
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
