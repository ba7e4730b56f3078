//! Names, labels and annotations that the operator, the chart and the generators agree on.

/// The API group.
pub const GROUP: &str = "bakeoff.dev";
/// The field manager of every object that the operator applies.
pub const FIELD_MANAGER: &str = "bakeoff-operator";
/// Guards test objects in buckets outside the cluster until they are removed.
pub const FINALIZER: &str = "bakeoff.dev/external-objects";
/// Set to `"true"` on an Experiment, gives up on removing objects from external buckets.
pub const ANNOTATION_SKIP_CLEANUP: &str = "bakeoff.dev/skip-external-cleanup";
/// The uid of the Experiment that a child belongs to.
pub const LABEL_EXPERIMENT_UID: &str = "bakeoff.dev/experiment-uid";
/// The name of the Experiment that a child belongs to.
pub const LABEL_EXPERIMENT: &str = "bakeoff.dev/experiment";
/// What a child is for: `backend`, `generator`, `calibration`, `report`, `cleanup` or `notice`.
pub const LABEL_ROLE: &str = "bakeoff.dev/role";
/// The backend that a child belongs to.
pub const LABEL_BACKEND: &str = "bakeoff.dev/backend";
/// What the pods of a backend are to it, for example `server` or `volume`.
pub const LABEL_MEMBER: &str = "bakeoff.dev/member";

/// The labels of pods that are Bakeoff's own: by them it finds what it made.
pub const POD_LABELS: [&str; 13] = [
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_SCHEDULE,
    LABEL_SCHEDULE_UID,
    LABEL_PLAN,
    LABEL_PLAN_UID,
    LABEL_ROLE,
    LABEL_BACKEND,
    LABEL_MEMBER,
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
];
/// The key of access key ids in credential Secrets.
pub const SECRET_ACCESS_KEY_ID: &str = "accessKeyId";
/// The key of secret access keys in credential Secrets.
pub const SECRET_SECRET_ACCESS_KEY: &str = "secretAccessKey";
/// The key of what the nodes of a server know each other by, in the Secrets that the operator draws: 64 hexadecimal digits.
pub const SECRET_OF_NODES: &str = "nodesSecret";
/// The optional key of session tokens in credential Secrets.
pub const SECRET_SESSION_TOKEN: &str = "sessionToken";
/// The file with the URL of an external Postgres server, in its folder of credentials.
pub const FILE_URL: &str = "url";
/// The file with the certificate authorities that it is to be checked against, if any, beside it.
pub const FILE_CA: &str = "ca.crt";
/// The setting of an external Postgres server that says how connections to it are encrypted: in a plan as the spec states it, in a
/// manifest as it was.
pub const SSL_MODE_SETTING: &str = "sslmode";
/// The setting by which a provisioned Postgres says where a copy of its log is, for the generators to read through SQL.
pub const SERVER_LOG_SETTING: &str = "bakeoff.server_log";
/// What stands for the Redis server that keeps locks wherever backends stand by their names. No backend can be
/// called so: the name has a dot.
pub const LOCK_SERVER: &str = "lock.redis";
/// The annotation of a server's pod with the file of its settings.
pub const ANNOTATION_SETTINGS: &str = "bakeoff.dev/settings";
/// The port on which generator 0 serves progress, metrics and the start barrier.
pub const GENERATOR_PORT: i32 = 9090;
/// The port on which what stands beside a server says that its setting is in force, or that its node has joined the others.
pub const SETTER_PORT: i32 = 9091;
/// The port on which what stands beside a server is told to kill it.
pub const KILLER_PORT: i32 = 9092;

/// The name of the schedule that an Experiment is a run of.
pub const LABEL_SCHEDULE: &str = "bakeoff.dev/schedule";
/// The name of the plan that an Experiment belongs to.
pub const LABEL_PLAN: &str = "bakeoff.dev/plan";
/// The uid of the plan that a Job belongs to.
pub const LABEL_PLAN_UID: &str = "bakeoff.dev/plan-uid";
/// The uid of the schedule that a Job belongs to.
pub const LABEL_SCHEDULE_UID: &str = "bakeoff.dev/schedule-uid";
/// The phase of the plan that an Experiment belongs to.
pub const LABEL_PHASE: &str = "bakeoff.dev/phase";
/// The label by which Kubernetes says what a node runs, and what all pods of an experiment are made for.
pub const NODE_SYSTEM: (&str, &str) = ("kubernetes.io/os", "linux");
/// When a run was due, as RFC 3339 in UTC.
pub const ANNOTATION_SCHEDULED_FOR: &str = "bakeoff.dev/scheduled-for";
/// What began a run: a word of [`crate::experiment_schedule::Trigger`].
pub const ANNOTATION_TRIGGER: &str = "bakeoff.dev/trigger";
/// The hash of the template that a run was made from.
pub const ANNOTATION_TEMPLATE: &str = "bakeoff.dev/template-hash";

/// The longest name of a child. A StatefulSet's stands before a dash and a hash of ten characters in a label of its pods, an
/// Indexed Job's before a dash and an index in their host names, and neither may be longer than 63.
pub const MAX_NAME: usize = 52;

/// `<experiment>-<first eight of the uid>-<role>`, shortened to [`MAX_NAME`] characters: a name that every kind of child may
/// have, a Service included, which begins with a letter (RFC 1035).
///
/// The uid keeps a re-created Experiment from meeting the children of its namesake. Only the
/// experiment's name is cut, never the uid or the role, so the result stays unique.
#[must_use]
pub fn child(experiment: &str, uid: &str, role: &str) -> String {
    let uid: String = uid
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    let tail = format!("{uid}-{role}");
    let letter = if experiment.starts_with(|c: char| c.is_ascii_lowercase()) {
        ""
    } else {
        "x"
    };
    let head: String = letter
        .chars()
        .chain(experiment.chars())
        .map(|c| if c == '.' { '-' } else { c })
        .take(MAX_NAME.saturating_sub(tail.len() + 1))
        .collect();
    let head = head.trim_end_matches('-');
    if head.is_empty() {
        format!("x{tail}")
    } else {
        format!("{head}-{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn child_names_fit_and_are_dns_labels(
            name in "[a-z0-9]([-a-z0-9.]{0,100}[a-z0-9])?",
            uid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            role in "[a-z][a-z0-9-]{0,31}[a-z0-9]",
        ) {
            let child = child(&name, &uid, &role);
            prop_assert!(child.len() <= MAX_NAME);
            prop_assert!(child.ends_with(&role));
            prop_assert!(child.contains(&uid[..8]));
            prop_assert!(child.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(child.starts_with(|c: char| c.is_ascii_lowercase()));
        }
    }
}
