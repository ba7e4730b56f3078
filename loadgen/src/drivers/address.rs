//! Addresses as people type them, which may hold a password. (Pure.)

/// Whether an address may hold a user or a password: none of ours has one, so that each may be shown and recorded.
#[must_use]
pub fn holds_secret(address: &str) -> bool {
    address.contains('@')
}

/// An address that holds credentials.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: an address holds no user and no password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are the user and the password of a database too"
)]
pub struct HoldsSecret(String);

/// Whether addresses may be shown and recorded.
///
/// # Errors
/// The first that may not, without what may not be shown.
pub fn check<'a>(addresses: impl IntoIterator<Item = &'a String>) -> Result<(), HoldsSecret> {
    let mut addresses = addresses.into_iter();
    match addresses.find(|address| holds_secret(address)) {
        Some(secret) => Err(HoldsSecret(shown(secret))),
        None => Ok(()),
    }
}

/// An address for messages, without what stands before its host.
#[must_use]
pub fn shown(address: &str) -> String {
    let Some((before, host)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    let scheme = before.split_once("://").map(|(scheme, _)| scheme);
    scheme.map_or_else(
        || format!("…@{host}"),
        |scheme| format!("{scheme}://…@{host}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_secret_is_shown() {
        for (address, expected) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://key:s3cr3t@h:9000", "http://…@h:9000"),
            ("postgres://u:s3/cr@3t@h:5432/db", "postgres://…@h:5432/db"),
            ("u:s3cr3t@h", "…@h"),
        ] {
            assert_eq!(shown(address), expected);
            assert_eq!(holds_secret(address), address != expected);
        }
    }
}
