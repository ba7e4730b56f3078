//! Writes the published JSON Schema of `trace.json`. `make gen` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: traceschema FILE");
        return ExitCode::from(2);
    };
    let schema = schemars::schema_for!(bakeoff_trace::Manifest);
    let written = serde_json::to_string_pretty(&schema)
        .map_err(std::io::Error::other)
        .and_then(|text| std::fs::write(&file, text + "\n"));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("traceschema: {file}: {error}");
            ExitCode::FAILURE
        }
    }
}
