//! What an answer says of a check, and the parts that judge without asking. (Pure.)

use bakeoff_crds::conformance::{Answer, Check, CheckAnswer};

use crate::drivers::s3::request::Told;

/// How much of a name is shown, characters.
const SHOWN: usize = 40;
/// How long what was seen may be, characters.
const SEEN: usize = 160;
/// What stores say of what they do not have.
const NOT_OFFERED: [&str; 5] = [
    "MethodNotAllowed",
    "NotImplemented",
    "NotSupported",
    "UnsupportedOperation",
    "XNotImplemented",
];

/// Why a check is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Something else was seen.
    Differs(String),
    /// The store says that it has no such thing.
    NotOffered(String),
    /// The store did not say.
    Unknown(String),
}

/// What came of a check or of a part of it.
pub(super) type Judged<T = ()> = Result<T, Otherwise>;

/// Something else was seen.
pub(super) fn differs<T>(seen: impl Into<String>) -> Judged<T> {
    Err(Otherwise::Differs(seen.into()))
}

/// The answer to a check, as it is recorded.
pub(super) fn answer(check: Check, judged: Judged) -> CheckAnswer {
    let (answer, seen) = match judged {
        Ok(()) => (Answer::Kept, String::new()),
        Err(Otherwise::Differs(seen)) => (Answer::Differs, seen),
        Err(Otherwise::NotOffered(seen)) => (Answer::NotOffered, seen),
        Err(Otherwise::Unknown(seen)) => (Answer::Unknown, seen),
    };
    CheckAnswer {
        check,
        answer,
        seen: cut(&seen, SEEN),
    }
}

/// What a refusal says: that it is not offered, that the store cannot or may not say, or that it does something else.
pub(super) fn refusal(what: &str, told: &Told) -> Otherwise {
    let code = told.error().map(|error| error.code).unwrap_or_default();
    let said = format!("{what} is answered with {} {code}", told.status)
        .trim_end()
        .to_owned();
    if matches!(told.status, 405 | 501) || NOT_OFFERED.contains(&code.as_str()) {
        return Otherwise::NotOffered(said);
    }
    match told.status {
        401 | 403 => Otherwise::Unknown(format!("{said}: not allowed")),
        408 | 429 | 500.. => Otherwise::Unknown(said),
        _ => Otherwise::Differs(said),
    }
}

/// The same of what the first try may have done itself, where the store put that off.
pub(super) fn put_off(what: &str, told: &Told) -> Otherwise {
    Otherwise::Unknown(format!(
        "{what} is answered with 503, and then with {}",
        told.status
    ))
}

/// A name as people read it.
pub(super) fn shown(key: &str) -> String {
    let key = cut(key, SHOWN);
    if key.contains(' ') || key.is_empty() {
        format!("\"{key}\"")
    } else {
        key
    }
}

fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(longest - 1).collect();
    kept.push('…');
    kept
}

/// That names are those that are wanted, each once, in whatever order.
pub(super) fn are(seen: &[String], wanted: &[&str]) -> Judged {
    for (at, name) in seen.iter().enumerate() {
        if !wanted.contains(&name.as_str()) {
            return differs(format!("{} is listed and was not asked for", shown(name)));
        }
        if seen.iter().skip(at + 1).any(|other| other == name) {
            return differs(format!("{} is listed twice", shown(name)));
        }
    }
    let missing = wanted
        .iter()
        .find(|name| !seen.iter().any(|one| one == *name));
    match missing {
        Some(name) => differs(format!("{} is not listed", shown(name))),
        None => Ok(()),
    }
}

/// That names ascend by their bytes.
pub(super) fn ascend(seen: &[String]) -> Judged {
    let mut pairs = seen.iter().zip(seen.iter().skip(1));
    match pairs.find(|(before, after)| before >= after) {
        Some((before, after)) => differs(format!("{} before {}", shown(before), shown(after))),
        None => Ok(()),
    }
}

/// What came of a race: the status of each writer.
pub(super) fn race(statuses: &[u16]) -> Judged {
    let count = |of: &dyn Fn(u16) -> bool| statuses.iter().filter(|status| of(**status)).count();
    let won = count(&|status| (200..300).contains(&status));
    // 409: somebody else's write was under way, and nothing was done.
    let lost = count(&|status| matches!(status, 409 | 412));
    match (won, statuses.len() - won - lost) {
        (2.., _) => differs(format!(
            "{won} of {} were told to have created it",
            statuses.len()
        )),
        (1, 0) => Ok(()),
        (0, 0) => differs("none of them created it"),
        (_, open) => Err(Otherwise::Unknown(format!(
            "{open} of {} have no clear outcome",
            statuses.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    fn told(status: u16, code: &str) -> Told {
        Told {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from(format!("<Error><Code>{code}</Code></Error>")),
            put_off: false,
        }
    }

    fn seen(judged: Judged) -> (Answer, String) {
        let answer = answer(Check::Pages, judged);
        (answer.answer, answer.seen)
    }

    #[test]
    fn a_refusal_is_sorted_by_what_it_says() {
        for (status, code, wanted) in [
            (501, "NotImplemented", Answer::NotOffered),
            (405, "", Answer::NotOffered),
            (400, "NotImplemented", Answer::NotOffered),
            (403, "AccessDenied", Answer::Unknown),
            (500, "InternalError", Answer::Unknown),
            (503, "SlowDown", Answer::Unknown),
            (400, "InvalidArgument", Answer::Differs),
            (409, "", Answer::Differs),
        ] {
            let (answer, text) = seen(Err(refusal("PUT of a", &told(status, code))));
            assert_eq!(answer, wanted, "{status} {code}");
            let said = format!("PUT of a is answered with {status} {code}");
            assert!(text.starts_with(said.trim_end()), "{text}");
        }
        assert_eq!(seen(Ok(())), (Answer::Kept, String::new()));
    }

    #[test]
    fn names_are_compared_and_the_first_that_is_wrong_is_named() {
        let names = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        assert_eq!(are(&names("b a"), &["a", "b"]), Ok(()));
        for (listed, wanted) in [
            ("a", "b is not listed"),
            ("a b a", "a is listed twice"),
            ("a b c", "c is listed and was not asked for"),
        ] {
            let wanted = (Answer::Differs, wanted.to_owned());
            assert_eq!(seen(are(&names(listed), &["a", "b"])), wanted);
        }
        assert_eq!(ascend(&names("a+1 a-1 a.b a/b a0")), Ok(()));
        let wrong = (Answer::Differs, "a/b before a+1".to_owned());
        assert_eq!(seen(ascend(&names("a/b a+1 a0"))), wrong);
        let twice = (Answer::Differs, "a before a".to_owned());
        assert_eq!(seen(ascend(&names("a a"))), twice);
    }

    #[test]
    fn a_race_has_one_winner_or_says_what_it_has() {
        assert_eq!(race(&[412, 200, 409, 412]), Ok(()));
        for (statuses, answer) in [
            (&[200, 200, 500][..], Answer::Differs),
            (&[412, 412], Answer::Differs),
            // The one without an answer may have won as well.
            (&[200, 500, 412], Answer::Unknown),
            (&[500, 412], Answer::Unknown),
        ] {
            assert_eq!(seen(race(statuses)).0, answer, "{statuses:?}");
        }
    }

    #[test]
    fn what_was_seen_is_short() {
        assert_eq!(shown("a b"), "\"a b\"");
        assert_eq!(shown(&"é".repeat(300)).chars().count(), SHOWN);
        let long = seen(differs("x".repeat(1_000))).1;
        assert_eq!(long.chars().count(), SEEN);
    }
}
