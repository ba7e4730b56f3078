//! Where it ran, what it ran on, and the raw data.

use bakeoff_crds::run::Manifest;

use super::super::datum::Datum;
use super::super::model::Table;
use super::{dash, drop_empty};
use crate::format;
use crate::index::Entry;
use crate::summary::Summary;

pub(in super::super) fn operation(summary: &Summary) -> Table {
    let mut table = Table::new(
        "The backends in operation",
        &[
            ("Backend", false),
            ("Version", false),
            ("Time to ready", true),
            ("Memory", true),
            ("CPU per operation", true),
            ("CPU time", true),
            ("Restarts", true),
            ("Image size", true),
            ("Node", false),
            ("Image that ran", false),
        ],
    );
    for (index, backend) in summary.measured.backends.iter().enumerate() {
        let at = |name: &str| format!("/backends/{index}/{name}");
        let name = if backend.provisioned {
            backend.name.clone()
        } else {
            format!("{} (external)", backend.name)
        };
        table.rows.push(vec![
            name.into(),
            backend.version.as_str().into(),
            dash(
                backend
                    .time_to_ready_seconds
                    .map(|seconds| format!("{seconds} s")),
                &at("timeToReadySeconds"),
            ),
            dash(
                backend.resident_bytes.map(format::bytes),
                &at("residentBytes"),
            ),
            dash(
                backend.cpu_micros_per_operation.map(format::duration),
                &at("cpuMicrosPerOperation"),
            ),
            dash(
                backend.cpu_micros.map(|cpu| format::duration(cpu as f64)),
                &at("cpuMicros"),
            ),
            Datum::figure(backend.restarts.to_string(), at("restarts")),
            dash(backend.image_bytes.map(format::bytes), &at("imageBytes")),
            backend.node.as_str().into(),
            digest(&backend.image, &backend.image_id).into(),
        ]);
    }
    drop_empty(&mut table);
    table
}

/// The pods of backends that have several, and how the equipment is split over them; nothing where all have one.
pub(in super::super) fn pods(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "The pods of each backend: its equipment, split by program",
        &[
            ("Pod", false),
            ("CPU", true),
            ("Memory", true),
            ("Storage", true),
            ("CPU time", true),
            ("Memory used", true),
            ("Restarts", true),
            ("Node", false),
        ],
    );
    for (b, backend) in summary.measured.backends.iter().enumerate() {
        for (p, pod) in backend.pods.iter().enumerate() {
            let at = |name: &str| format!("/backends/{b}/pods/{p}/{name}");
            let index = pod.name.rsplit_once('-').map_or("", |(_, index)| index);
            let name = format!("{} {} {index}", backend.name, pod.member.as_str());
            let storage = pod.storage.as_ref().map(ToString::to_string);
            table.rows.push(vec![
                name.into(),
                Datum::figure(pod.resources.cpu.to_string(), at("resources/cpu")),
                Datum::figure(pod.resources.memory.to_string(), at("resources/memory")),
                dash(storage, &at("storage")),
                dash(
                    pod.cpu_micros.map(|cpu| format::duration(cpu as f64)),
                    &at("cpuMicros"),
                ),
                dash(pod.resident_bytes.map(format::bytes), &at("residentBytes")),
                Datum::figure(pod.restarts.to_string(), at("restarts")),
                pod.node.as_str().into(),
            ]);
        }
    }
    if table.rows.is_empty() {
        return None;
    }
    drop_empty(&mut table);
    Some(table)
}

/// What an acknowledgement of each backend promises; nothing where no backend states it.
pub(in super::super) fn durability(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "What an acknowledged write survives",
        &[
            ("Backend", false),
            ("Class", false),
            ("Flushed before the answer", false),
            ("Copies", true),
            ("Bytes stored per byte", true),
            ("Shown by", false),
        ],
    );
    let backends = &summary.measured.backends;
    backends
        .iter()
        .any(|backend| backend.durability.class.is_some())
        .then_some(())?;
    for (index, backend) in backends.iter().enumerate() {
        let at = |name: &str| format!("/backends/{index}/durability/{name}");
        let said = &backend.durability;
        let class = said.class.map(|class| class.as_str().into());
        let copies = (said.copies > 0).then(|| said.copies.to_string());
        table.rows.push(vec![
            backend.name.as_str().into(),
            class.unwrap_or_else(Datum::none),
            said.parts().into(),
            dash(copies, &at("copies")),
            dash(
                backend
                    .bytes_stored_per_byte
                    .map(|times| format!("{times:.1}")),
                &format!("/backends/{index}/bytesStoredPerByte"),
            ),
            said.shown_by.as_str().into(),
        ]);
    }
    drop_empty(&mut table);
    Some(table)
}

/// The image with enough of its digest to tell it from others; the manifest has all of it. Its tag is the version,
/// which stands beside it.
fn digest(image: &str, id: &str) -> String {
    let image = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    match id.rsplit_once("sha256:") {
        Some((_, digest)) => format!("{image} @ {}", digest.chars().take(12).collect::<String>()),
        None => image.to_owned(),
    }
}

pub(in super::super) fn nodes(manifest: &Manifest) -> Option<Table> {
    let mut table = Table::new(
        "The nodes",
        &[
            ("Node", false),
            ("Cores", false),
            ("Memory", false),
            ("CPU", false),
            ("Governor", false),
            ("SHA-256 MiB/s", false),
            ("fsync p50 / p99", false),
            ("File system", false),
            ("Kernel", false),
            ("Runtime", false),
        ],
    )
    .described();
    let known = |text: Option<&String>| match text {
        Some(text) if !text.is_empty() => Datum::from(text),
        _ => Datum::none(),
    };
    for node in &manifest.plan.environment.nodes {
        let calibration = node.calibration.as_ref();
        table.rows.push(vec![
            node.name.as_str().into(),
            format::three(node.allocatable_cpu_millis as f64 / 1_000.0).into(),
            format::bytes(node.allocatable_memory_bytes).into(),
            known(calibration.map(|c| &c.cpu_model)),
            known(calibration.map(|c| &c.cpu_governor)),
            calibration.map_or_else(Datum::none, |c| {
                format::three(c.sha256_mib_per_second).into()
            }),
            calibration.map_or_else(Datum::none, |c| {
                let fsync = |micros: i64| format::duration(micros as f64);
                format!(
                    "{} / {}",
                    fsync(c.fsync_p50_micros),
                    fsync(c.fsync_p99_micros)
                )
                .into()
            }),
            known(calibration.map(|c| &c.file_system)),
            node.kernel_version.as_str().into(),
            node.container_runtime.as_str().into(),
        ]);
    }
    drop_empty(&mut table);
    (!table.rows.is_empty()).then_some(table)
}

pub(in super::super) fn files(files: &[Entry]) -> Option<Table> {
    let mut table = Table::new(
        "Raw data",
        &[("File", false), ("Size", false), ("SHA-256", false)],
    )
    .folded()
    .described()
    .listing_files();
    for file in files {
        table.rows.push(vec![
            file.name.as_str().into(),
            format::bytes(i64::try_from(file.bytes).unwrap_or(i64::MAX)).into(),
            file.sha256.as_str().into(),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}
