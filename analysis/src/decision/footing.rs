//! Whether two backends promise the same when they acknowledge a write. (Pure.)
//!
//! A store that answers before anything is flushed is quick for that reason: a figure of writes in favour of the one that
//! promises less is no finding about the stores. It may still speak against it.

use bakeoff_crds::durability::DurabilityClass;

use super::Standing;
use super::rule::Asked;
use crate::measured::BackendSummary;

/// Which of two backends promises less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    /// Neither, or nobody says anything of either.
    Equal,
    /// The one that is judged.
    SubjectWeaker,
    /// The one that it is compared with.
    BaseWeaker,
}

impl Footing {
    /// Of one that is judged and one that it is compared with. Who states nothing is taken for the weaker one.
    pub fn of(subject: &BackendSummary, base: &BackendSummary) -> Self {
        match (subject.durability.class, base.durability.class) {
            (None, None) => Self::Equal,
            (None, Some(_)) => Self::SubjectWeaker,
            (Some(_), None) => Self::BaseWeaker,
            (Some(ours), Some(theirs)) if ours.is_weaker_than(theirs) => Self::SubjectWeaker,
            (Some(ours), Some(theirs)) if theirs.is_weaker_than(ours) => Self::BaseWeaker,
            (Some(_), Some(_)) => Self::Equal,
        }
    }

    /// The same, where the experiment does not accept that one promises less.
    pub fn in_question(asked: &Asked<'_>, subject: &BackendSummary, base: &BackendSummary) -> Self {
        if asked.decision.accept_weaker_durability {
            Self::Equal
        } else {
            Self::of(subject, base)
        }
    }

    /// What is left of what a figure of writes says by itself, where `Met` speaks for the subject and `NotMet` against it.
    pub fn judge(self, alone: Standing) -> Standing {
        match (self, alone) {
            (Self::SubjectWeaker, Standing::Met) | (Self::BaseWeaker, Standing::NotMet) => {
                Standing::Open
            }
            (_, alone) => alone,
        }
    }
}

/// "a promises less than b when it acknowledges a write (…)", without a full stop; none on equal footing.
pub(super) fn sentence(subject: &BackendSummary, base: &BackendSummary) -> Option<String> {
    let (weaker, stronger) = match Footing::of(subject, base) {
        Footing::Equal => return None,
        Footing::SubjectWeaker => (subject, base),
        Footing::BaseWeaker => (base, subject),
    };
    Some(format!(
        "{} promises less than {} when it acknowledges a write ({}; {})",
        weaker.name,
        stronger.name,
        class(weaker),
        class(stronger)
    ))
}

fn class(backend: &BackendSummary) -> String {
    let said = |class: DurabilityClass| format!("{}: {}", class.as_str(), class.meaning());
    let class = backend.durability.class;
    class.map_or_else(|| "it states nothing".to_owned(), said)
}
