//! The colours of the page can be told from what they stand on, in light, in dark and on paper.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("style.css");

/// The variables of each `:root` rule, in order: light, dark, paper. What a later one does not set
/// it takes from the first.
fn palettes() -> Vec<BTreeMap<String, [f64; 3]>> {
    let mut palettes: Vec<BTreeMap<String, [f64; 3]>> = Vec::new();
    for rule in STYLE.split(":root{").skip(1) {
        let body = rule.split('}').next().unwrap();
        let mut palette = palettes.first().cloned().unwrap_or_default();
        for declaration in body.split(';') {
            let Some((name, value)) = declaration.trim().split_once(':') else {
                continue;
            };
            if let Some(colour) = value.trim().strip_prefix('#') {
                palette.insert(name.to_owned(), rgb(colour));
            }
        }
        palettes.push(palette);
    }
    palettes
}

fn rgb(hex: &str) -> [f64; 3] {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let channel = |n: usize| match digits.len() {
        3 => digits[n] * 17,
        _ => digits[2 * n] * 16 + digits[2 * n + 1],
    };
    [channel(0), channel(1), channel(2)].map(|c| f64::from(c) / 255.0)
}

/// Relative luminance, WCAG 2.2.
fn luminance(colour: [f64; 3]) -> f64 {
    let [r, g, b] = colour.map(|c| {
        if c <= 0.040_45 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Contrast ratio, WCAG 2.2: 1 to 21.
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_and_marks_stand_out() {
    let palettes = palettes();
    assert_eq!(palettes.len(), 3, "light, dark and paper");
    for (palette, name) in palettes.iter().zip(["light", "dark", "paper"]) {
        let colour = |variable: &str| palette[variable];
        // Text, 1.4.3 (AA): 4.5; links have the colour of the first series.
        for text in ["--ink", "--soft", "--go", "--nogo", "--open", "--s0"] {
            for ground in ["--paper", "--wash"] {
                let ratio = contrast(colour(text), colour(ground));
                assert!(ratio >= 4.5, "{name}: {text} on {ground}: {ratio:.2}");
            }
        }
        // Lines, markers, whiskers and axes, 1.4.11 (AA): 3, also where they cross the margin's band.
        for mark in [
            "--s0", "--s1", "--s2", "--s3", "--s4", "--s5", "--ink", "--soft",
        ] {
            for ground in ["--paper", "--band"] {
                let ratio = contrast(colour(mark), colour(ground));
                assert!(ratio >= 3.0, "{name}: {mark} on {ground}: {ratio:.2}");
            }
        }
    }
}

#[test]
fn the_arithmetic_is_that_of_the_standard() {
    // #777 on white is the well-known near miss: 4.48.
    let near = contrast(rgb("777"), rgb("fff"));
    assert!((near - 4.48).abs() < 0.01, "{near}");
    assert!((contrast(rgb("000000"), rgb("ffffff")) - 21.0).abs() < 1e-9);
}
