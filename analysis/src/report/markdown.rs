//! The report as Markdown for a pull request: the same content; charts as their texts.

use std::fmt::Write as _;

use super::model::{Report, Section, Table, class_text};

/// The Markdown.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# {}\n", line(&report.question));
    if let Some(verdict) = &report.decision {
        let _ = writeln!(
            text,
            "**{}** ({}{}). {}\n",
            verdict.outcome.as_str(),
            verdict.rule,
            report
                .class
                .map_or_else(String::new, |class| format!(", {class} result")),
            line(&verdict.reason)
        );
        let _ = writeln!(
            text,
            "**What it changes:** {}\n",
            line(&verdict.consequence)
        );
    }
    let facts: Vec<String> = report
        .facts
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.text))
        .collect();
    let _ = writeln!(
        text,
        "{} · {} · {}\n",
        report.name,
        report.started_at,
        facts.join(" · ")
    );
    if let Some(class) = report.class {
        let _ = writeln!(text, "*{}*\n", class_text(class));
    }
    for part in &report.sections {
        let class = part.class.or(report.class);
        let class = class.map_or_else(String::new, |class| class.to_string());
        section(&mut text, part, &class);
    }
    let _ = writeln!(text, "---\n{}", line(&report.footer));
    text
}

fn section(text: &mut String, section: &Section, class: &str) {
    let _ = writeln!(text, "## {}\n", section.heading);
    for intro in &section.intro {
        let _ = writeln!(text, "{}\n", line(intro));
    }
    for figure in &section.figures {
        let _ = writeln!(text, "- *Chart:* {}", line(&figure.text));
    }
    if !section.figures.is_empty() {
        text.push('\n');
    }
    for table in &section.tables {
        lay_out(text, table, class);
    }
    for point in &section.list {
        let _ = writeln!(text, "- {}", line(point));
    }
    if !section.list.is_empty() {
        text.push('\n');
    }
    for (title, code) in &section.code {
        let _ = writeln!(
            text,
            "<details><summary>{title}</summary>\n\n```json\n{code}\n```\n\n</details>\n"
        );
    }
}

fn lay_out(text: &mut String, table: &Table, class: &str) {
    let class = if table.measured {
        format!(" ({class})")
    } else {
        String::new()
    };
    if table.folded {
        let _ = writeln!(
            text,
            "<details><summary>{}{class}</summary>\n",
            table.caption
        );
    } else {
        let _ = writeln!(text, "**{}**{class}\n", table.caption);
    }
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text.push_str(&row(table
        .columns
        .iter()
        .map(|(name, _)| cell(name))
        .collect()));
    let rule = |number: bool| {
        if number {
            "---:".to_owned()
        } else {
            "---".to_owned()
        }
    };
    text.push_str(&row(table
        .columns
        .iter()
        .map(|(_, number)| rule(*number))
        .collect()));
    for cells in &table.rows {
        text.push_str(&row(cells.iter().map(|datum| cell(&datum.text)).collect()));
    }
    text.push('\n');
    if table.folded {
        text.push_str("</details>\n\n");
    }
}

/// Text from outside on one line, so that it cannot start a block of its own or a tag.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('<', "&lt;")
}

fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}
