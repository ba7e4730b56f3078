//! The house itself: nowhere do modules that stand beside each other use each other in a circle, neither files nor folders. What a
//! parent and its children say to each other is no circle, and tests may use what they like.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A path in a crate.
type Name = Vec<String>;
/// What is used, and the name that it has where it is used.
type Uses = Vec<(Name, String)>;
/// Who uses whom, and in which words.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

fn within(folder: &[String], name: &str) -> Name {
    [folder, &[name.to_owned()]].concat()
}

/// The modules of a crate and what they use, without tests.
fn modules(folder: &Path, of: &Name, all: &mut BTreeMap<Name, Uses>) {
    let inside = ["mod.rs", "lib.rs", "main.rs"].map(|name| folder.join(name));
    let mut files = [folder.with_extension("rs")].into_iter().chain(inside);
    let Some(own) = files.find(|file| file.is_file()) else {
        return;
    };
    let (text, tests) = without_tests(&std::fs::read_to_string(own).unwrap());
    all.insert(of.clone(), uses(&text));
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path().with_extension("");
        let name = path.file_name().unwrap().to_str().unwrap();
        let child = within(of, name);
        let apart = ["mod", "lib", "main", "bin"].contains(&name) || tests.contains(name);
        if !apart && !all.contains_key(&child) {
            modules(&path, &child, all);
        }
    }
}

/// A text without comments and up to its tests; and the modules that are tests.
fn without_tests(text: &str) -> (String, BTreeSet<String>) {
    let (mut kept, mut tests, mut is_test) = (String::new(), BTreeSet::new(), false);
    for line in text.lines().map(str::trim) {
        let module = line.split_once("mod ").map(|(_, name)| name);
        match module.filter(|_| is_test) {
            _ if line.starts_with("//") || is_test && line.starts_with("#[") => continue,
            Some(name) if name.ends_with('{') => break,
            Some(name) => _ = tests.insert(name.trim_end_matches(';').to_owned()),
            None => kept = kept + line + "\n",
        }
        is_test = line == "#[cfg(test)]";
    }
    (kept, tests)
}

/// What a text uses: its statements, and the paths that are written out where they are needed.
fn uses(text: &str) -> Uses {
    let mut found = Uses::new();
    let part_of_path = |sign: char| sign.is_alphanumeric() || "_:".contains(sign);
    for statement in text.split(';') {
        let begun = statement.rsplit_once("use ").filter(|(before, _)| {
            let visibility = before.rsplit('\n').next().unwrap_or_default();
            visibility.is_empty() || visibility.starts_with("pub")
        });
        let (before, tree) = begun.unwrap_or((statement, ""));
        leaves(tree, &[], &mut found);
        let starts = ["crate::", "super::"].into_iter();
        for (at, _) in starts.flat_map(|start| before.match_indices(start)) {
            if !before[..at].ends_with(part_of_path) {
                let path = before[at..].split(|sign| !part_of_path(sign)).next();
                leaves(path.unwrap_or_default(), &[], &mut found);
            }
        }
    }
    found
}

/// The paths of a tree of `use`.
fn leaves(tree: &str, before: &[String], found: &mut Uses) {
    let (head, body) = tree.split_once('{').unwrap_or((tree, ""));
    let (head, alias) = head.split_once(" as ").unwrap_or((head, ""));
    let parts = head.split("::").map(|part| part.trim().to_owned());
    let mut path = before.to_vec();
    path.extend(parts.filter(|part| !part.is_empty()));
    if body.is_empty() {
        path.pop_if(|last| last == "self" && !before.is_empty());
        if let Some(last) = path.last() {
            let name = Some(alias.trim()).filter(|alias| !alias.is_empty());
            found.push((path.clone(), name.unwrap_or(last).to_owned()));
        }
        return;
    }
    let (body, mut depth) = (body.rsplit_once('}').map_or(body, |(body, _)| body), 0);
    let parts = body.split(|sign| {
        depth += i32::from(sign == '{') - i32::from(sign == '}');
        sign == ',' && depth == 0
    });
    for part in parts.filter(|part| !part.trim().is_empty()) {
        leaves(part, &path, found);
    }
}

/// The module in which a path ends, also by way of what a module passes on.
fn end(all: &BTreeMap<Name, Uses>, from: &Name, path: &[String], depth: usize) -> Option<Name> {
    let (mut at, mut rest) = (from.clone(), path);
    match path.first()?.as_str() {
        "crate" => (at, rest) = (Name::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                (_, rest) = (at.pop()?, &rest[1..]);
            }
        }
        own if all.contains_key(&within(from, own)) => {}
        _ => return None,
    }
    while let Some((next, more)) = rest.split_first() {
        let child = within(&at, next);
        if !all.contains_key(&child) {
            let passed = all[&at].iter().find(|(_, name)| name == next && depth < 9);
            let on = |(to, _): &(Name, String)| end(all, &at, &[to, more].concat(), depth + 1);
            return passed.and_then(on).or(Some(at));
        }
        (at, rest) = (child, more);
    }
    Some(at)
}

/// A circle in each folder that has one, with who uses whom in it.
fn circles(all: &BTreeMap<Name, Uses>) -> Vec<String> {
    let mut folders: BTreeMap<&[String], Edges> = BTreeMap::new();
    for (from, uses) in all {
        for (path, _) in uses {
            let to = end(all, from, path, 0).unwrap_or_default();
            let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (from.get(same), to.get(same)) {
                let edges = folders.entry(&from[..same]).or_default();
                let said = format!("{} uses {}", from.join("::"), path.join("::"));
                let edges = edges.entry(a.clone()).or_default();
                edges.entry(b.clone()).or_insert(said);
            }
        }
    }
    let circle = |edges: &Edges| {
        let back = |start: &String| way(edges, start, start, &mut BTreeSet::new());
        edges.keys().find_map(back).map(|steps| steps.join("; "))
    };
    folders.values().filter_map(circle).collect()
}

/// The steps from one to another.
fn way(edges: &Edges, from: &str, to: &str, seen: &mut BTreeSet<String>) -> Option<Vec<String>> {
    edges.get(from)?.iter().find_map(|(next, said)| {
        let mut steps = vec![said.clone()];
        if next != to {
            steps.extend(
                seen.insert(next.clone())
                    .then(|| way(edges, next, to, seen))??,
            );
        }
        Some(steps)
    })
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for one in ["crds", "analysis", "rules", "trace", "operator", "loadgen"] {
        let mut all = BTreeMap::new();
        modules(&house.join(one).join("src"), &Name::new(), &mut all);
        assert!(all.len() > 5, "{one}");
        assert_eq!(circles(&all), Vec::<String>::new(), "{one}");
    }
}

#[test]
fn a_circle_is_found_also_by_way_of_what_a_parent_passes_on() {
    let of = |files: &[(&str, &str)]| {
        let name = |path: &str| path.split_terminator("::").map(str::to_owned).collect();
        let files = files.iter().map(|(path, text)| (name(path), uses(text)));
        circles(&files.collect())
    };
    let root = ("", "mod a;\nmod b;\npub use b::{Other as B, x::Y};\n");
    let (a, x) = (
        ("a::deep", "use crate::{Y, B};\n"),
        ("b::x", "use crate::a::{self, Z};\n"),
    );
    assert_eq!(
        of(&[root, ("a", ""), a, ("b", "use std::fmt;\n")]),
        Vec::<String>::new()
    );
    let straight = of(&[
        root,
        ("a", "use crate::B;\n"),
        ("b", "fn f() { super::a::g() }\n"),
    ]);
    assert_eq!(straight, ["a uses crate::B; b uses super::a::g"]);
    let of_folders = of(&[root, ("a", ""), a, ("b", ""), x]);
    assert_eq!(of_folders, ["a::deep uses crate::Y; b::x uses crate::a"]);
}
