//! What an answer that is no success says, and what a user can do about it. (Pure.)

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::xml::{self, ErrorDocument};
use crate::failure::{Failure, FailureClass, Remedy};

/// How much of a body that is no S3 is quoted.
const QUOTED: usize = 120;

/// What the server refuses because of who asks.
const OF_CREDENTIALS: [&str; 8] = [
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "UnauthorizedAccess",
];
/// The same, whatever the status: of temporary credentials AWS says it with 400.
const OF_TOKENS: [&str; 3] = ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

/// The same, with a status that would have an object be missing: versitygw says it of keys that it does not know, with 404.
const OF_UNKNOWN_KEYS: &str = "XAdminUserNotFound";

/// Reads an answer that is no success; `header` gives a header by its lower-case name.
pub fn failure(
    status: u16,
    header: impl Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> Failure {
    let error = xml::parse_error(body);
    let class = match status {
        404 if error
            .as_ref()
            .is_some_and(|error| error.code == OF_UNKNOWN_KEYS) =>
        {
            FailureClass::Client
        }
        429 | 503 => FailureClass::Throttled,
        200..300 => FailureClass::Malformed,
        500.. => FailureClass::Server,
        404 => FailureClass::NotFound,
        _ => FailureClass::Client,
    };
    let words = if error.is_some() {
        String::new()
    } else {
        first_words(body)
    };
    let said = match &error {
        Some(error) => format!("HTTP {status} {}: {}", error.code, error.message),
        None if words.is_empty() => format!("HTTP {status} without a word"),
        None => format!("HTTP {status} and no S3 answer: \"{words}\""),
    };
    let mut failure = Failure::new(class, said);
    failure.remedy = remedy(status, error.as_ref(), &header, &words, now).map(Box::new);
    failure.retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
    failure.code = error.map(|error| error.code);
    failure
}

fn remedy(
    status: u16,
    error: Option<&ErrorDocument>,
    header: &impl Fn(&str) -> Option<String>,
    words: &str,
    now: Timestamp,
) -> Option<Remedy> {
    let (code, message) = error.map_or(("", ""), |error| (&error.code, &error.message));
    let says = |text: &str| message.to_ascii_lowercase().contains(text);
    let region = || {
        let told = error
            .map(|error| error.region.clone())
            .filter(|region| !region.is_empty());
        told.or_else(|| header("x-amz-bucket-region"))
    };
    if code == "RequestTimeTooSkewed" {
        let theirs = header("date").and_then(|date| rfc2822::parse(&date).ok());
        let ahead = theirs.map(|date| now.as_second() - date.timestamp().as_second());
        return Some(Remedy::Clock { ahead });
    }
    if (300..400).contains(&status)
        || (400..500).contains(&status)
            && matches!(
                code,
                "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException"
                    | "PermanentRedirect"
                    | "TemporaryRedirect"
            )
    {
        let told = error
            .map(|error| error.endpoint.clone())
            .filter(|endpoint| !endpoint.is_empty());
        let endpoint = told.or_else(|| header("location"));
        return Some(Remedy::Elsewhere {
            region: region(),
            endpoint,
        });
    }
    match code {
        "InvalidBucketName" => return Some(Remedy::BucketName),
        "MissingContentMD5" => return Some(Remedy::Digest),
        _ if !(400..500).contains(&status) => {}
        _ if says("content-sha256") || says("unsigned") => return Some(Remedy::SignedPayload),
        _ if says("content-md5") || says("object lock") || says("checksum") => {
            return Some(Remedy::Digest);
        }
        _ if OF_TOKENS.contains(&code) || code == OF_UNKNOWN_KEYS => {
            return Some(Remedy::Credentials);
        }
        _ if matches!(status, 401 | 403) && OF_CREDENTIALS.contains(&code) => {
            return Some(Remedy::Credentials);
        }
        _ => {}
    }
    let plain = words.to_ascii_lowercase();
    if status == 400 && plain.contains("https") {
        return Some(Remedy::Scheme);
    }
    match status {
        // Another try may end otherwise.
        408 | 409 | 412 | 425 | 429 | 500 | 502.. => None,
        // That an object or bucket is missing is an answer of S3, and one without a word may be.
        404 if !code.is_empty() || words.is_empty() => None,
        407 => Some(Remedy::Proxy),
        _ => Some(Remedy::Unknown),
    }
}

/// The first words of a page or a text, without its tags.
fn first_words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4_096)]);
    let mut words = String::new();
    let mut tag = false;
    for character in text.chars() {
        match character {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                words.push(' ');
            }
            _ if tag => {}
            other if other.is_control() || other == '"' => words.push(' '),
            other => words.push(other),
        }
    }
    let mut words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(QUOTED) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
        let header = |name: &str| {
            let mut found = headers.iter().filter(|(key, _)| *key == name);
            found.next().map(|(_, value)| (*value).to_owned())
        };
        let now = "2026-01-01T00:20:00Z".parse().unwrap();
        failure(status, header, body.as_bytes(), now)
    }

    fn error(code: &str, rest: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code>{rest}</Error>")
    }

    #[test]
    fn only_a_refusal_of_credentials_is_one() {
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (401, "AccessDenied"),
            (400, "ExpiredToken"),
        ] {
            let failure = read(status, &[], &error(code, ""));
            assert_eq!(
                failure.remedy.as_deref(),
                Some(&Remedy::Credentials),
                "{failure}"
            );
        }
        for (status, body) in [
            (
                403,
                "<html><head><title>403 Forbidden</title></head><body>nginx</body></html>",
            ),
            (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
            (404, "404 page not found"),
            (400, "Bad Request"),
            (401, ""),
            (501, "<Error><Code>NotImplemented</Code></Error>"),
            (400, "<Error><Code>AccessDenied</Code></Error>"),
        ] {
            let failure = read(status, &[], body);
            assert_eq!(
                failure.remedy.as_deref(),
                Some(&Remedy::Unknown),
                "{failure}"
            );
        }
        // No object is missing because of it.
        let unknown = read(404, &[], &error("XAdminUserNotFound", ""));
        assert_eq!(unknown.remedy.as_deref(), Some(&Remedy::Credentials));
        assert_eq!(unknown.class, FailureClass::Client);
        assert_eq!(read(407, &[], "").remedy.as_deref(), Some(&Remedy::Proxy));
    }

    #[test]
    fn what_is_no_s3_is_quoted() {
        let page =
            "<html>\n<head><title>403 Forbidden</title></head>\r\n<body>by \"order\"</body></html>";
        let said = read(403, &[], page).to_string();
        assert!(said.contains("HTTP 403"), "{said}");
        assert!(said.contains("403 Forbidden by order"), "{said}");
        let long = "x".repeat(1_000);
        assert!(read(500, &[], &long).to_string().len() < 220);
        assert!(
            read(502, &[], "")
                .to_string()
                .contains("HTTP 502 without a word")
        );
    }

    #[test]
    fn a_redirect_says_where_to() {
        let elsewhere = |region: Option<&str>, endpoint: Option<&str>| {
            Some(Remedy::Elsewhere {
                region: region.map(str::to_owned),
                endpoint: endpoint.map(str::to_owned),
            })
        };
        let body = error(
            "PermanentRedirect",
            "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>",
        );
        let failure = read(301, &[("x-amz-bucket-region", "eu-west-1")], &body);
        assert_eq!(
            failure.remedy.as_deref().cloned(),
            elsewhere(Some("eu-west-1"), Some("b.s3.eu-west-1.amazonaws.com"))
        );
        let failure = read(307, &[("location", "https://other.example/")], "");
        assert_eq!(
            failure.remedy.as_deref().cloned(),
            elsewhere(None, Some("https://other.example/"))
        );
        let body = error(
            "AuthorizationHeaderMalformed",
            "<Region>eu-central-1</Region>",
        );
        assert_eq!(
            read(400, &[], &body).remedy.as_deref().cloned(),
            elsewhere(Some("eu-central-1"), None)
        );
    }

    #[test]
    fn the_clocks_differ_by_so_much() {
        let headers = [("date", "Thu, 01 Jan 2026 00:00:00 GMT")];
        let failure = read(403, &headers, &error("RequestTimeTooSkewed", ""));
        assert_eq!(
            failure.remedy.as_deref(),
            Some(&Remedy::Clock { ahead: Some(1_200) })
        );
        assert!(failure.remedy.unwrap().to_string().contains("1200 s ahead"));
    }

    #[test]
    fn what_a_put_lacks_is_named() {
        let said = |message: &str| {
            let message = format!("<Message>{message}</Message>");
            read(400, &[], &error("InvalidRequest", &message))
                .remedy
                .map(|remedy| *remedy)
        };
        let lock = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters";
        assert_eq!(said(lock), Some(Remedy::Digest));
        assert_eq!(
            said("x-amz-content-sha256 must not be UNSIGNED-PAYLOAD"),
            Some(Remedy::SignedPayload)
        );
        assert_eq!(said("something else"), Some(Remedy::Unknown));
        assert_eq!(
            read(400, &[], &error("InvalidBucketName", ""))
                .remedy
                .as_deref(),
            Some(&Remedy::BucketName)
        );
        let tls = "Client sent an HTTP request to an HTTPS server.\n";
        assert_eq!(read(400, &[], tls).remedy.as_deref(), Some(&Remedy::Scheme));
    }

    #[test]
    fn what_may_pass_has_no_remedy() {
        for status in [408, 409, 429, 500, 502, 503] {
            assert_eq!(
                read(status, &[], "<html>busy</html>").remedy,
                None,
                "{status}"
            );
        }
        assert_eq!(read(404, &[], &error("NoSuchBucket", "")).remedy, None);
        let slow = read(503, &[("retry-after", "7")], &error("SlowDown", ""));
        assert_eq!(
            (slow.class, slow.retry_after),
            (FailureClass::Throttled, Some(7))
        );
    }
}
