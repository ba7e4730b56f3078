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

/// Sizes in whole bytes from 1 to this many; `each` is what is looked at: `self`, or every item of it.
fn is_size(each: &str, most: &str) -> String {
    format!(
        "isQuantity({each}) && quantity({each}).isInteger() && quantity({each}).compareTo(quantity('1')) >= 0 && quantity({each}).compareTo(quantity('{most}')) <= 0"
    )
}

/// A size in whole bytes.
pub(super) fn size(field: &str, most: &str) -> Rule {
    Rule::new(is_size("self", most)).message(&*format!(
        "{field} must be between 1 and {most}, in whole bytes"
    ))
}

/// A list of sizes in whole bytes.
pub(super) fn sizes(field: &str, most: &str) -> Rule {
    Rule::new(format!("self.all(s, {})", is_size("s", most))).message(&*format!(
        "{field} must be between 1 and {most}, in whole bytes"
    ))
}

/// No level of a factor is listed twice.
pub(super) fn levels_differ(field: &str) -> Rule {
    Rule::new("self.all(a, self.exists_one(b, a == b))")
        .message(&*format!("{field} lists a level twice"))
}

/// No size is listed twice, whichever way it is written: `4Ki` is `4096`.
pub(super) fn sizes_differ(field: &str) -> Rule {
    Rule::new("self.all(a, self.exists_one(b, quantity(a).compareTo(quantity(b)) == 0))")
        .message(&*format!("{field} lists a level twice"))
}
