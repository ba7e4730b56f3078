//! The long soak: do dead rows and sizes plateau?
//!
//! The plan: "if dead% and index size plateau under representative rate, the simple unpartitioned schema is
//! vindicated for real. If autovacuum falls behind or index bloat forces frequent reindexing,
//! partitioning earns its complexity back." The simple schema is what stays, so `Go` means that with one
//! setting of the table everything plateaus, and `NoGo` that every setting is shown not to.
//!
//! Segments of a soak follow each other and are no independent repeats, so nothing is tested over them as if
//! they were. What decides is the second half of the time: what the sizes grew by, which is read and not
//! estimated, and the trend of dead rows, a Theil-Sen slope with an interval that allows for
//! autocorrelation (`stats::trend`).

mod course;
#[cfg(test)]
mod tests;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::schedule::{Cell, factor};
use bakeoff_crds::spec::{SnapshotHeld, WorkloadKind};

use self::course::Course;
use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::variants::{Variant, all_fail, failures, holding, rows_missed, unsettled};
use super::{DecisionInput, Role, Standing, Unit, at_most, count, missing};
use crate::measured::{CellBackend, CellSummary};
use crate::stats::{round, trend};

/// How much more dead rows there may be at the end of the second half than at its beginning, percent of the
/// active runs: "a bounded band, does not slowly creep".
const DEAD_POINTS: f64 = 2.0;
/// "Autovacuum keeps up", as in `SimpleSchema`: by default it starts at a fifth, and twice that is more than one
/// cycle behind.
const DEAD_PERCENT: f64 = 40.0;
/// Segments in the second half below which no trend is called one.
const FEW: usize = 10;

/// Bytes below which a growth is some pages more or less, and shows nothing whatever its share is.
const SOME_PAGES: f64 = 1_048_576.0;

/// Turnovers in the second half below which a size that still grows shows nothing. Run ids ascend, so a leaf page of
/// the primary key (some 370 entries) is free only when the last of its runs has ended: where lives are as spread as
/// can be, that takes ln 370, six mean lives or turnovers, and until then each turnover adds pages and frees none.
const REPLACED: f64 = 3.0;

/// How a trend enters the rule.
struct Demand {
    figure: Figure,
    name: &'static str,
    /// The growth over the second half that is allowed, percent.
    bound: f64,
    /// Whether that is a share of the figure itself; otherwise points of a percentage.
    relative: bool,
}

/// The setting of a table, as a sentence has it.
fn name_of(levels: &Cell) -> String {
    let level = |name: &str| levels.get(name).map_or("", String::as_str);
    format!(
        "fillfactor {}, autovacuum {}",
        level(factor::FILLFACTOR),
        level(factor::AUTOVACUUM)
    )
}

fn held(cell: &CellSummary) -> bool {
    cell.levels.get(factor::SNAPSHOT).map(String::as_str)
        == Some(SnapshotHeld::WholeSegment.as_str())
}

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::Soak)],
    withheld_if_wrong: false,
    rests_on_listing: false,
    judges_one: true,
    reads_bloat: true,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let measured = asked.measured;
    let subject = asked.subject();
    let margin = f64::from(asked.decision.margin_percent);
    let cells: Vec<&CellSummary> = measured
        .of_kind(WorkloadKind::Soak)
        .flat_map(|workload| &workload.cells)
        .collect();
    let missed = rows_missed(measured, WorkloadKind::Soak, &subject);
    let settings = cells.iter().filter(|cell| !held(cell)).count().max(1);
    let bounds = Bounds {
        margin,
        // One setting that holds is enough, so each is judged at its share of the error rate.
        alpha: measured.level / settings as f64,
    };
    let (variants, lacking): (Vec<Variant>, Vec<Option<f64>>) = cells
        .iter()
        .filter(|cell| !held(cell))
        .map(|cell| variant(cell, &cells, &subject, bounds))
        .unzip();
    // The setting that is nearest to being settled.
    let more = lacking
        .into_iter()
        .flatten()
        .filter(|more| *more >= 1.0)
        .reduce(f64::min)
        .map(|more| more as i32);
    let ruling = if missed.standing == Standing::NotMet {
        Ruling::no_go(
            format!(
                "{:.0} statements did not touch exactly the row that their connection owned.",
                missed.value.unwrap_or(0.0)
            ),
            "The compare-and-swap is not what the design takes it for: settle that before any schema.",
        )
    } else if let Some(variant) = holding(&variants).filter(|_| missed.standing == Standing::Met) {
        Ruling::go(
            format!(
                "With {} dead rows stay in their band and table and index stop growing: over the second half of the {} no trend is beyond its bound, and the population was replaced meanwhile.",
                variant.name,
                lasted(&cells, &subject, &variant.name)
            ),
            "The simple unpartitioned schema holds over time: leave partitioning out of the design.",
        )
    } else if all_fail(&variants) {
        Ruling::no_go(
            format!("No setting plateaus. {}.", failures(&variants)),
            "Partitioning earns its complexity back: dropping a partition gives table and index back at once. Experiment A1 picks how.",
        )
    } else {
        let open = unsettled(&variants, &missed, "No soak was measured.");
        let consequence = if swings(&variants) {
            "Nothing changes yet: dead rows swing by more than the bound from one segment to the next. Make each segment so long that autovacuum runs ten times in it, or let it soak for longer."
        } else {
            "Nothing changes yet: let it soak for longer, at a rate that replaces the population within the second half."
        };
        let settled = more.map_or_else(String::new, |more| {
            format!(" About {more} more segments would settle it.")
        });
        Ruling::open(format!("{open}.{settled}"), consequence, more)
    };
    let mut inputs = vec![missed];
    inputs.extend(variants.into_iter().flat_map(|variant| variant.inputs));
    Answer {
        question: format!(
            "Do dead rows and index size plateau on {subject}, so that the simple schema holds for good?"
        ),
        criterion: format!(
            "Go if with one setting of the table, over the second half of the time, dead rows are shown to rise by at most {DEAD_POINTS} points of a percent of the active runs and table and index to grow by at most {margin} %, dead rows stay below {DEAD_PERCENT} % in every segment, and that half covers at least two runs of autovacuum, one turnover of the population and {FEW} segments; NoGo if every setting is shown to break one of the bounds; a size does if, slowing down as it did from the third quarter of the time to the last, it would grow by more than that in as much time again, it is a MiB or more, and the population was replaced {REPLACED} times in that half. A size is read at the beginning and at the end of that half; dead rows are judged by a Theil-Sen slope, whose intervals share an error rate of 5 % between the settings."
        ),
        ruling,
        inputs,
    }
}

/// How long the table with this setting was watched, in words.
fn lasted(cells: &[&CellSummary], subject: &str, setting: &str) -> String {
    let longest = cells
        .iter()
        .filter(|cell| !held(cell) && name_of(&cell.levels) == setting)
        .filter_map(|cell| cell.on(subject))
        .filter_map(|on| Some(Course::of(on, Figure::IndexBytes).points.last()?.0))
        .fold(0.0, f64::max);
    if longest >= 2.0 {
        format!("{longest:.1} hours")
    } else {
        format!("{:.0} minutes", longest * 60.0)
    }
}

/// Whether all that is open is a trend whose interval is wider than its bound. A segment that sees one and a half cycles
/// of autovacuum has another mean than the next; what is cut off at its ends is the less the more cycles it has.
fn swings(variants: &[Variant]) -> bool {
    let mut open = variants
        .iter()
        .flat_map(|variant| &variant.inputs)
        .filter(|input| input.role != Role::Context && input.standing == Standing::Open)
        .peekable();
    open.peek().is_some() && open.all(|input| input.role == Role::Primary && input.high.is_some())
}

/// How the trends of all settings are looked at.
#[derive(Clone, Copy)]
struct Bounds {
    /// Growth of the sizes that is allowed, percent.
    margin: f64,
    alpha: f64,
}

/// A demand, and how many more segments would settle it if everything goes on as it is: 0 for what is settled, nothing
/// where no number would.
struct Judged {
    input: DecisionInput,
    lacks: Option<f64>,
}

impl Judged {
    fn settled(input: DecisionInput) -> Self {
        Self {
            input,
            lacks: Some(0.0),
        }
    }

    /// The second half lacks so many, and is half of what is run.
    fn lacking(input: DecisionInput, more: f64) -> Self {
        let lacks = more.is_finite().then(|| 2.0 * more.ceil().max(1.0));
        Self { input, lacks }
    }

    /// So many segments of the second half add up to `sum`, where it takes `least`.
    fn short_of(input: DecisionInput, least: f64, sum: f64, segments: usize) -> Self {
        Self::lacking(input, segments as f64 * (least / sum - 1.0))
    }
}

/// What a setting shows, and how many more segments would settle it.
fn variant(
    cell: &CellSummary,
    cells: &[&CellSummary],
    subject: &str,
    bounds: Bounds,
) -> (Variant, Option<f64>) {
    let name = name_of(&cell.levels);
    let Some(on) = cell.on(subject) else {
        let inputs = Vec::new();
        return (Variant { name, inputs }, None);
    };
    let scope = name.clone();
    let coverage = [
        (
            Figure::Autovacuums,
            "Runs of autovacuum in the second half",
            2.0,
        ),
        (
            Figure::Turnovers,
            "Turnovers of the population in the second half",
            1.0,
        ),
    ]
    .map(|(figure, name, least)| covered(on, figure, name, least, &scope));
    let whole = coverage
        .iter()
        .all(|judged| judged.input.standing == Standing::Met);
    let turnovers = Course::of(on, Figure::Turnovers).sum().unwrap_or_default();
    let mut judged: Vec<Judged> = coverage.into();
    let mut index_grows = false;
    for demand in [
        Demand {
            figure: Figure::DeadMeanPercent,
            name: "Rise of dead rows over the second half",
            bound: DEAD_POINTS,
            relative: false,
        },
        Demand {
            figure: Figure::IndexBytes,
            name: "Growth of the index over the second half",
            bound: bounds.margin,
            relative: true,
        },
        Demand {
            figure: Figure::TableBytes,
            name: "Growth of the table over the second half",
            bound: bounds.margin,
            relative: true,
        },
    ] {
        let mut one = trended(on, &demand, &scope, bounds, turnovers);
        // What has not turned over once may not have begun to grow, and may not have finished.
        if !whole {
            one.input.standing = Standing::Open;
        }
        index_grows |= demand.figure == Figure::IndexBytes && one.input.standing != Standing::Met;
        judged.push(one);
    }
    let more = judged
        .iter()
        .try_fold(0.0_f64, |most, one| Some(most.max(one.lacks?)));
    let mut inputs: Vec<DecisionInput> = judged.into_iter().map(|one| one.input).collect();
    inputs.push(band(on, &scope));
    // A growth within its bound needs no cadence.
    inputs.extend(index_grows.then(|| cadence(on, &scope, bounds)).flatten());
    inputs.extend(frozen(on, &scope));
    inputs.extend(held_back(cell, cells, subject, &scope));
    let variant = Variant { name, inputs };
    let more = more.filter(|_| variant.standing() == Standing::Open);
    (variant, more)
}

fn covered(on: &CellBackend, figure: Figure, name: &str, least: f64, scope: &str) -> Judged {
    let mut input = missing(
        name,
        scope.to_owned(),
        Role::Guard,
        Unit::Count,
        format!("at least {least}"),
    );
    let course = Course::of(on, figure);
    let have = course.second_half().len();
    input.blocks = count(have);
    let sum = course.sum();
    input.value = sum.map(round);
    match sum {
        Some(sum) if sum >= least => {
            input.standing = Standing::Met;
            Judged::settled(input)
        }
        Some(sum) => Judged::short_of(input, least, sum, have),
        None => Judged { input, lacks: None },
    }
}

/// Change over the second half. A size is read and not estimated: what it grew by is the last reading over the
/// first. Dead rows go up and down, so theirs is the trend, with its interval.
fn trended(
    on: &CellBackend,
    demand: &Demand,
    scope: &str,
    bounds: Bounds,
    turnovers: f64,
) -> Judged {
    let words = if demand.relative {
        format!("at most {} %", demand.bound)
    } else {
        format!("shown to be at most {} points", demand.bound)
    };
    let mut input = missing(
        demand.name,
        scope.to_owned(),
        Role::Primary,
        Unit::Percent,
        words,
    );
    let course = Course::of(on, demand.figure);
    let half = course.second_half();
    input.blocks = count(half.len());
    let few = FEW as f64 - half.len() as f64;
    let (Some(first), Some(last)) = (half.first(), half.last()) else {
        return Judged::lacking(input, few);
    };
    if few > 0.0 {
        input
            .demand
            .push_str(&format!(", over at least {FEW} segments"));
        return Judged::lacking(input, few);
    }
    if demand.relative {
        return grown(input, &course, demand.bound, turnovers);
    }
    let Some(trend) = trend::over_segments(half, bounds.alpha) else {
        return Judged { input, lacks: None };
    };
    let change = |slope: f64| slope * (last.0 - first.0);
    let (rise, low, high) = (change(trend.slope), change(trend.low), change(trend.high));
    input.value = Some(round(rise));
    input.low = Some(round(low));
    input.high = Some(round(high));
    input.standing = at_most(low, high, demand.bound);
    if input.standing != Standing::Open {
        return Judged::settled(input);
    }
    // An interval of a change over the half narrows with the root of the segments in it.
    let (reach, room) = (high - rise, demand.bound - rise);
    let times = if room > 0.0 {
        (reach / room).powi(2)
    } else {
        f64::INFINITY
    };
    Judged::lacking(input, half.len() as f64 * (times - 1.0))
}

/// A size. One that grew by more than its bound is no proof against a plateau if it is on its way to rest: then the
/// second half began too early, and will not once the soak has gone on for long enough. Nor is one that the first
/// generations of runs have not left yet.
fn grown(mut input: DecisionInput, course: &Course, bound: f64, turnovers: f64) -> Judged {
    let half = course.second_half();
    let quarter = Course::second_half_of(half);
    let at = |point: Option<&(f64, f64)>| point.copied().unwrap_or_default();
    let (first, middle, last) = (at(half.first()), at(quarter.first()), at(half.last()));
    let least = first.1.max(1.0);
    let growth = (last.1 / least - 1.0) * 100.0;
    input.value = Some(round(growth));
    // What comes to rest does so by a share of what is left, as in Aitken's extrapolation: each quarter of the time adds
    // that share of what the one before it added. The next two:
    let pace =
        |from: (f64, f64), to: (f64, f64)| (to.1 - from.1) / (to.0 - from.0).max(f64::EPSILON);
    let (third, fourth) = (pace(first, middle), pace(middle, last));
    let share = if third > 0.0 {
        (fourth / third).clamp(0.0, 1.0)
    } else {
        1.0
    };
    let added = fourth * (last.0 - first.0) / 2.0 * (share + share * share);
    let next = 100.0 * added / last.1.max(1.0);
    let climbs = next > bound && last.1 - first.1 >= SOME_PAGES;
    input.standing = if growth <= bound {
        Standing::Met
    } else if climbs && turnovers >= REPLACED {
        Standing::NotMet
    } else {
        Standing::Open
    };
    if input.standing != Standing::Open {
        return Judged::settled(input);
    }
    if climbs {
        input.demand.push_str(&format!(
            "; what grows within fewer than {REPLACED} turnovers may still come to rest"
        ));
        return Judged::short_of(input, REPLACED, turnovers, half.len());
    }
    input.demand.push_str(&format!(
        "; slowing down as it did, it would grow by {next:.1} % in as much time again"
    ));
    Judged::lacking(input, course.until_flat(bound))
}

/// Dead rows in every segment, also in the first half: a band that was left once was left.
fn band(on: &CellBackend, scope: &str) -> DecisionInput {
    let mut input = missing(
        "Most dead rows, of the active runs",
        scope.to_owned(),
        Role::Guard,
        Unit::Percent,
        format!("at most {DEAD_PERCENT} % in every segment"),
    );
    let course = Course::of(on, Figure::DeadPeakPercent);
    input.blocks = count(course.points.len());
    if let Some(most) = course.most() {
        input.value = Some(round(most));
        input.standing = if most <= DEAD_PERCENT {
            Standing::Met
        } else {
            Standing::NotMet
        };
    }
    input
}

/// After how many hours of the present trend the index is twice as large as now, and REINDEX CONCURRENTLY due.
fn cadence(on: &CellBackend, scope: &str, bounds: Bounds) -> Option<DecisionInput> {
    let course = Course::of(on, Figure::IndexBytes);
    let half = course.second_half();
    let trend = (half.len() >= FEW)
        .then(|| trend::over_segments(half, bounds.alpha))
        .flatten()?;
    // Only of a growth that is shown.
    if trend.low <= 0.0 {
        return None;
    }
    let mut input = missing(
        "Until the index has doubled: REINDEX CONCURRENTLY every",
        scope.to_owned(),
        Role::Context,
        Unit::Hours,
        "none".to_owned(),
    );
    let now = half.last()?.1;
    input.value = Some(round(now / trend.slope));
    input.low = Some(round(now / trend.high));
    input.high = Some(round(now / trend.low));
    input.blocks = count(half.len());
    Some(input)
}

fn frozen(on: &CellBackend, scope: &str) -> Vec<DecisionInput> {
    [
        (
            Figure::FrozenAgeMost,
            "Most transactions since the oldest row that is not frozen",
            Course::most as fn(&Course) -> Option<f64>,
        ),
        (
            Figure::Freezes,
            "Freezes of the table in the second half",
            Course::sum,
        ),
    ]
    .into_iter()
    .filter_map(|(figure, name, of)| {
        let course = Course::of(on, figure);
        let mut input = missing(
            name,
            scope.to_owned(),
            Role::Context,
            Unit::Count,
            "none".to_owned(),
        );
        input.value = Some(round(of(&course)?));
        input.blocks = count(course.points.len());
        Some(input)
    })
    .collect()
}

/// What a snapshot that is held does to the same setting: sleepers must not, a long transaction does.
fn held_back(
    cell: &CellSummary,
    cells: &[&CellSummary],
    subject: &str,
    scope: &str,
) -> Option<DecisionInput> {
    let twin = cells
        .iter()
        .find(|other| held(other) && name_of(&other.levels) == name_of(&cell.levels))?;
    let dead =
        |cell: &CellSummary| Some(Course::of(cell.on(subject)?, Figure::DeadMeanPercent).points);
    let mean = |cell: &CellSummary| {
        let seen = dead(cell)?;
        let sum: f64 = seen.iter().map(|(_, value)| value).sum();
        (!seen.is_empty()).then(|| sum / seen.len() as f64)
    };
    let (with, without) = (mean(twin)?, mean(cell)?);
    let mut input = missing(
        "Dead rows while a transaction holds a snapshot, against none held",
        scope.to_owned(),
        Role::Context,
        Unit::Ratio,
        "none".to_owned(),
    );
    input.value = (without > 0.0).then(|| round(with / without));
    input.blocks = count(dead(twin)?.len());
    Some(input)
}
