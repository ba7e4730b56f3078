//! The report as one self-contained page: no script, no network, light and dark, screen and paper.

use bakeoff_crds::status::DecisionOutcome;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::datum::Datum;
use super::model::{Drawing, Report, Section, Table, Verdict, class_text};
use super::svg;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                link rel="icon" href="data:,";
                title { (report.name) " · Bakeoff" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        div.top {
                            span { "Bakeoff · " (report.name) " · " (day(&report.started_at)) }
                            @if let Some(class) = report.class { span.tag { (class) " result" } }
                        }
                        h1 { (report.question) }
                        @if let Some(verdict) = &report.decision { (decision(verdict)) }
                        dl.facts {
                            @for (name, value) in &report.facts { div { dt { (name) } dd data-from=[from(value)] { (value.text) } } }
                        }
                        @if let Some(class) = report.class { p.note { (class_text(class)) } }
                    }
                    @for (number, part) in report.sections.iter().enumerate() { (section(part, number, &class_of(part, report))) }
                    footer { (report.footer) }
                }
            }
        }
    }
    .into_string()
}

/// What tables and charts of a section are marked with.
fn class_of(section: &Section, report: &Report) -> String {
    let class = section.class.or(report.class);
    class.map_or_else(String::new, |class| class.to_string())
}

/// The date and minute of an RFC 3339 instant, for people.
fn day(instant: &str) -> String {
    let date = instant.get(..10).unwrap_or(instant);
    match instant.get(11..16) {
        Some(minute) => format!("{date} {minute} UTC"),
        None => date.to_owned(),
    }
}

fn decision(verdict: &Verdict) -> Markup {
    let (class, mark, text) = match verdict.outcome {
        DecisionOutcome::Go => ("go", "✓", "Go"),
        DecisionOutcome::NoGo => ("nogo", "✗", "No-go"),
        DecisionOutcome::Inconclusive => ("open", "?", "Inconclusive"),
    };
    html! {
        section class={ "verdict " (class) } aria-label="Decision" {
            div.outcome { span aria-hidden="true" { (mark) " " } (text) small { (verdict.rule) } }
            p { (verdict.reason) }
            p.change { span { "What it changes: " } (verdict.consequence) }
        }
    }
}

fn section(section: &Section, number: usize, class: &str) -> Markup {
    html! {
        section class=[section.begins_a_page.then_some("sheet")] {
            h2 { (section.heading) }
            @for text in &section.intro { p.note { (text) } }
            @if !section.figures.is_empty() {
                @if !section.legend.is_empty() {
                    ul.legend {
                        @for (name, style) in &section.legend { li { (PreEscaped(svg::legend_key(*style))) (name) } }
                    }
                }
                div.charts {
                    @for (index, figure) in section.figures.iter().enumerate() { (draw(figure, number, index, class)) }
                }
            }
            div class=[section.dense.then_some("dense")] { @for table in &section.tables { (lay_out(table, class)) } }
            @if !section.list.is_empty() { ul.plain.note { @for point in &section.list { li { (point) } } } }
            @for (title, text) in &section.code {
                details.screen { summary { (title) } pre tabindex="0" { (text) } }
            }
        }
    }
}

fn draw(figure: &Drawing, section: usize, index: usize, class: &str) -> Markup {
    let id = format!("c{section}-{index}");
    html! {
        figure {
            figcaption { span { (figure.chart.title()) } span.tag { (class) } }
            (PreEscaped(figure.chart.render(&id, &figure.text)))
        }
    }
}

fn lay_out(table: &Table, class: &str) -> Markup {
    let body = html! {
        div.scroll tabindex="0" role="region" aria-label=(table.caption) {
            table {
                caption { (table.caption) @if table.measured { span.tag { (class) } } }
                thead { tr { @for (name, number) in &table.columns { th scope="col" class=[number.then_some("num")] { (name) } } } }
                tbody {
                    @for (index, row) in table.rows.iter().enumerate() {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                (value(table, index, column, cell))
                            }
                        }
                    }
                }
            }
        }
    };
    if table.folded {
        html! { details.screen { summary { (table.caption) " (" (table.rows.len()) ")" } (body) } }
    } else {
        body
    }
}

/// The places in `summary.json` of the figures in a text. The page does not use them: whoever wants
/// to know where a number comes from does, and the test that follows each of them to the raw data.
fn from(datum: &Datum) -> Option<String> {
    (!datum.from.is_empty()).then(|| datum.from.join(" "))
}

/// One cell of a table. The first column is blanked for the eye (not for a reader by voice) where
/// it only repeats the row above, so that groups are seen.
fn value(table: &Table, row: usize, column: usize, datum: &Datum) -> Markup {
    let text = datum.text.as_str();
    let number = table.columns.get(column).is_some_and(|(_, number)| *number);
    let repeats = column == 0
        && row
            .checked_sub(1)
            .and_then(|above| table.rows.get(above)?.first())
            .is_some_and(|above| above.text == text);
    let class = if repeats {
        Some("same")
    } else if number {
        Some("num")
    } else if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Some("hash")
    } else {
        None
    };
    let file = table.lists_files && column == 0;
    html! {
        td class=[class] data-from=[from(datum)] { @if file { a href=(text) { (text) } } @else { (text) } }
    }
}
