//! The kinds of operations that workloads record. An operation is told by its place in a table and not by its name: one
//! is recorded for each request.

use std::fmt;

macro_rules! operations {
    ($($(#[doc = $doc:tt])+ $member:ident = $text:literal,)+) => {
        /// A kind of operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[doc = $doc])+ $member,)+
        }

        impl Operation {
            /// All of them, by name.
            pub const ALL: &[Self] = &[$(Self::$member),+];
            /// How many there are.
            pub(super) const COUNT: usize = Self::ALL.len();

            /// The name in raw data, objectives and the summary.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)+
                }
            }
        }
    };
}

operations! {
    /// A snapshot, from its arrival until the object that holds it is acknowledged.
    Append = "append",
    /// A snapshot, from its arrival until it was taken into a buffer.
    Buffer = "buffer",
    /// The end of a run, and of its row.
    Complete = "complete",
    /// The beginning of a run.
    Create = "create",
    /// The deletion of an object.
    Delete = "delete",
    /// The read of an object.
    Get = "get",
    /// The insertion of a row.
    Insert = "insert",
    /// One that was due after old rows were reclaimed.
    InsertAfter = "insertAfter",
    /// One that was due before that.
    InsertBefore = "insertBefore",
    /// One that was due while it went on.
    InsertDuring = "insertDuring",
    /// All pages of a listing.
    List = "list",
    /// One page of a listing.
    ListPage = "listPage",
    /// Any statement of a load on a table.
    Operation = "operation",
    /// The write of an object.
    Put = "put",
    /// One that was due after all servers were back.
    PutAfter = "putAfter",
    /// One that was due before the fault.
    PutBefore = "putBefore",
    /// One that was due from the fault until all servers were back.
    PutDuring = "putDuring",
    /// The read of a run, be it objects or a row.
    Read = "read",
    /// A step of a run.
    Transition = "transition",
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_analysis::kinds;
    use bakeoff_crds::spec::WorkloadKind;

    #[test]
    fn what_objectives_may_name_is_recorded_under_that_name() {
        for kind in WorkloadKind::ALL {
            for name in kinds::of(*kind).operations {
                assert!(
                    Operation::ALL.iter().any(|one| one.as_str() == *name),
                    "{name}"
                );
            }
        }
        assert!(Operation::ALL.is_sorted_by_key(|one| one.as_str()));
    }
}
