//! What admission rules are put together from.

use kube::core::Rule;

/// `a`, `a and b`, `a, b and c`.
pub(super) fn enumerate(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Exactly one of these members of `self` is set.
pub(super) fn exactly_one(of: &str, members: &[&str]) -> Rule {
    let set: Vec<String> = members.iter().map(|m| format!("has(self.{m})")).collect();
    Rule::new(format!("[{}].filter(x, x).size() == 1", set.join(", ")))
        .message(&*format!("{of} sets exactly one of {}", enumerate(members)))
}
