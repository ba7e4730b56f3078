//! What the crate takes for a trace of so many runs: `measure synthesize|csv|import|inspect|fit|plan FOLDER [NUMBER|FORMAT]`.
//!
//! Run under `/usr/bin/time -v`, which tells the memory. `synthesize` makes NUMBER runs in FOLDER/trace, `csv` writes them in a
//! shuffled order to FOLDER/events.csv, `import` makes FOLDER/imported of FOLDER/events.FORMAT (csv by default), `plan` plans NUMBER copies for one turn.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use bakeoff_trace::format::Quantiles;
use bakeoff_trace::import::{self, Ends, Format, Options};
use bakeoff_trace::plan::{Plan, PlanOptions, Ratio, Shift};
use bakeoff_trace::synthesize::{Shape, synthesize};
use bakeoff_trace::{Error, Trace, fit, inspect};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, folder, rest @ ..] = arguments.as_slice() else {
        return Err("measure synthesize|csv|import|inspect|fit|plan FOLDER [NUMBER|FORMAT]".into());
    };
    let folder = Path::new(folder);
    let last = rest.first().map(String::as_str);
    let number: u32 = last.unwrap_or_default().parse().unwrap_or(1);
    let trace = folder.join("trace");
    let start = Instant::now();
    match what.as_str() {
        "synthesize" => {
            let shape = Shape {
                runs: u64::from(number),
                span_micros: 86_400_000_000,
                events_per_run: Quantiles {
                    p50: 11,
                    p90: 47,
                    p99: 85,
                    max: 175,
                },
                gap_micros: Quantiles {
                    p50: 1_000_000,
                    p90: 10_000_000,
                    p99: 60_000_000,
                    max: 600_000_000,
                },
                never_end_per_mille: 5,
                state_bytes: Some(200),
            };
            let manifest = synthesize(&shape, 1, &trace)?;
            println!("{} events, {:?}", manifest.counts.events(), manifest.open);
        }
        "csv" => shuffle(&trace, &folder.join("events.csv"))?,
        "import" => {
            let options = Options {
                ends: Ends::Last,
                ..Options::default()
            };
            let format: Format = last.unwrap_or("csv").parse()?;
            let input = File::open(folder.join("events").with_extension(format.name()))?;
            let imported = import::run(format, input, &options, &folder.join("imported"), folder)?;
            println!("{} events", imported.manifest.counts.events());
        }
        "inspect" => print!("{}", inspect::inspect(&mut Trace::open(&trace)?)?.table()),
        "fit" => println!("{:?}", fit::fit(&mut Trace::open(&trace)?)?),
        "plan" => {
            let options = PlanOptions {
                speed: Ratio::ONE,
                copies: number,
                shift: Shift::Spread,
            };
            let mut plan = Plan::open(Trace::open(&trace)?, options)?;
            println!("opened after {:.1} s", start.elapsed().as_secs_f64());
            println!("{} open at the start", plan.initial(0).count());
            println!("counted after {:.1} s", start.elapsed().as_secs_f64());
            let turn = u64::try_from(plan.turn_nanos())?;
            let mut events = 0_u64;
            for planned in plan.window(0, turn)?.take(20_000_000) {
                planned?;
                events += 1;
            }
            println!("{events} events planned");
        }
        other => return Err(format!("{other} is not measured").into()),
    }
    println!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Writes a table out of order: from 11 pieces in turn.
fn shuffle(trace: &Path, table: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io {
        what: format!("write {}", table.display()),
        source,
    };
    let mut out = BufWriter::new(File::create(table).map_err(failed)?);
    writeln!(out, "run,time").map_err(failed)?;
    for piece in 0..11 {
        let mut trace = Trace::open(trace)?;
        for (number, event) in (0_u64..).zip(trace.events()?) {
            let event = event?;
            if number * 7 % 11 == piece {
                let micros = 1_700_000_000_000_000 + event.at_micros;
                writeln!(out, "run-{},{micros}", event.run).map_err(failed)?;
            }
        }
    }
    out.flush().map_err(failed)
}
