//! Writes the custom resource definitions and the API reference into the folders named on the command line.
//!
//! `crdgen crds docs/reference` is what `make gen` calls.

use bakeoff_crds::{all_crds, reference};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: crdgen CRD_FOLDER REFERENCE_FOLDER";
    let crds = PathBuf::from(arguments.next().ok_or(usage)?);
    let references = PathBuf::from(arguments.next().ok_or(usage)?);
    for crd in all_crds() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        std::fs::write(crds.join(format!("{name}.yaml")), reference::yaml(&crd)?)?;
        std::fs::write(
            references.join(reference::file(&crd)),
            reference::markdown(&crd),
        )?;
    }
    Ok(())
}
