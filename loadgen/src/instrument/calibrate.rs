//! A short look at a node: processor and disk. It finds nodes that differ; it is no benchmark.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use bakeoff_crds::run::{DiskFacts, NodeCalibration};
use sha2::{Digest, Sha256};

use crate::instrument::clock;

const HASHED_MIB: usize = 64;
const ROUNDS: usize = 5;
const SYNCS: usize = 100;
const SYNC_BUDGET: u64 = 10 * clock::SECOND;

/// Why a node could not be calibrated.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct CalibrateError {
    path: String,
    source: std::io::Error,
}

impl CalibrateError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "CalibrationFailed"
    }
}

/// Measures this node; the folder is where the file of the disk test is written and removed.
///
/// # Errors
/// When the folder cannot be written to.
pub fn calibrate(folder: &Path) -> Result<NodeCalibration, CalibrateError> {
    measure(folder, HASHED_MIB)
}

fn measure(folder: &Path, hashed_mib: usize) -> Result<NodeCalibration, CalibrateError> {
    let disk = disk(folder)?;
    Ok(NodeCalibration {
        cpu_model: cpu_model(),
        cpu_governor: cpu_governor(),
        cores: online_cores(),
        sha256_mib_per_second: hashing(hashed_mib),
        fsync_p50_micros: disk.fsync_p50_micros,
        fsync_p99_micros: disk.fsync_p99_micros,
        file_system: disk.file_system,
    })
}

/// Measures the disk beneath a folder, where a file is written and removed.
///
/// # Errors
/// When the folder cannot be written to.
pub fn disk(folder: &Path) -> Result<DiskFacts, CalibrateError> {
    let failed = |source| CalibrateError {
        path: folder.display().to_string(),
        source,
    };
    let mut syncs = fsyncs(folder).map_err(failed)?;
    syncs.sort_unstable();
    let at = |share: f64| {
        let index = (syncs.len() as f64 * share).ceil() as usize;
        syncs
            .get(index.saturating_sub(1))
            .map_or(0, |&nanos| i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
    };
    Ok(DiskFacts {
        file_system: file_system(folder),
        fsync_p50_micros: at(0.5),
        fsync_p99_micros: at(0.99),
    })
}

/// The model of this machine's processor.
#[must_use]
pub fn cpu_model() -> String {
    model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The frequency governor of the first core; empty where the kernel does not say.
#[must_use]
pub fn cpu_governor() -> String {
    let governor = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    governor.unwrap_or_default().trim().to_owned()
}

/// How many cores are online.
#[must_use]
pub fn online_cores() -> i32 {
    cores(&fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default())
}

/// Best of several rounds: the least disturbed one.
fn hashing(mib: usize) -> f64 {
    let block = vec![0x5a_u8; 1 << 20];
    let best = (0..ROUNDS)
        .map(|_| {
            let start = clock::now();
            let mut hash = Sha256::new();
            for _ in 0..mib {
                hash.update(&block);
            }
            std::hint::black_box(hash.finalize());
            clock::now() - start
        })
        .min()
        .unwrap_or(u64::MAX);
    mib as f64 * clock::SECOND as f64 / best as f64
}

fn fsyncs(folder: &Path) -> std::io::Result<Vec<u64>> {
    let path = folder.join(format!("bakeoff-fsync-{}", std::process::id()));
    let result = (|| {
        let mut file = File::create(&path)?;
        let block = [0x5a_u8; 4_096];
        let begin = clock::now();
        let mut taken = Vec::with_capacity(SYNCS);
        while taken.len() < SYNCS && clock::now() - begin < SYNC_BUDGET {
            // The same block each time, as a log's tail would be.
            file.seek(SeekFrom::Start(0))?;
            let start = clock::now();
            file.write_all(&block)?;
            file.sync_all()?;
            taken.push(clock::now() - start);
        }
        Ok(taken)
    })();
    let _ = fs::remove_file(&path);
    result
}

fn model(info: &str) -> String {
    info.lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Model"))
        .and_then(|line| line.split_once(':'))
        .map_or_else(
            || std::env::consts::ARCH.to_owned(),
            |(_, name)| name.trim().to_owned(),
        )
}

/// `0-3,8` is five cores.
fn cores(online: &str) -> i32 {
    online
        .trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(last.parse::<i32>().ok()? - first.parse::<i32>().ok()? + 1)
        })
        .sum()
}

fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            folder
                .starts_with(point)
                .then(|| (point.len(), kind.to_owned()))
        })
        .max()
        .map_or_else(String::new, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel() {
        assert_eq!(cores("0-3,8\n"), 5);
        assert_eq!(cores("0\n"), 1);
        assert_eq!(
            model("processor : 0\nmodel name\t: EPYC 7B13\n"),
            "EPYC 7B13"
        );
    }

    #[test]
    fn measures_this_machine_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let node = measure(folder.path(), 1).unwrap();
        assert!(node.sha256_mib_per_second > 1.0 && node.fsync_p99_micros >= node.fsync_p50_micros);
        assert!(node.cores >= 1 && !node.file_system.is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
