//! AWS Signature Version 4 for the measured path.
//!
//! The official crate derives the day's key by four HMACs for every request and builds its
//! intermediate texts on the heap (about 7 µs a request on the project's box); this one keeps the
//! day's key as a prepared HMAC state and hashes the canonical request as it goes (about 1 µs). It
//! is proven against AWS's published vectors and, on random requests, against the `aws-sigv4`
//! crate.
//!
//! Source: "Signature Version 4 signing process" and "Examples: Signature Calculations in AWS
//! Signature Version 4", Amazon S3 API reference.

use crate::credentials::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The payload hash of a request whose body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The SHA-256 of an empty body, in hexadecimal.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is signed. Path and query are already percent-encoded, the query sorted by parameter; the
/// headers are lower-case, trimmed and sorted by name, and include `host` and `x-amz-date`.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// Encoded path, starting with a slash.
    pub path: &'a str,
    /// Encoded and sorted query without the question mark; empty for none.
    pub query: &'a str,
    /// The signed headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Hexadecimal SHA-256 of the body, or [`UNSIGNED_PAYLOAD`].
    pub payload_hash: &'a str,
}

/// Signs requests of one access key, region and service. One per worker: it caches.
#[derive(Clone)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    service: String,
    second: i64,
    stamp: String,
    scope: String,
    day: String,
    day_key: Hmac<Sha256>,
}

impl Signer {
    /// A signer for `service` (`s3`) in a region.
    #[must_use]
    pub fn new(credentials: Credentials, region: &str, service: &str) -> Self {
        Self {
            credentials,
            region: region.to_owned(),
            service: service.to_owned(),
            second: i64::MIN,
            stamp: String::new(),
            scope: String::new(),
            day: String::new(),
            day_key: keyed(&[]),
        }
    }

    /// The credentials that this signer uses.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The `x-amz-date` of an instant in Unix seconds; from the cache within one second.
    pub fn date(&mut self, unix_seconds: i64) -> &str {
        if unix_seconds != self.second {
            self.second = unix_seconds;
            let at =
                jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.stamp = at.strftime("%Y%m%dT%H%M%SZ").to_string();
            if self.stamp[..8] != self.day {
                self.new_day();
            }
        }
        &self.stamp
    }

    fn new_day(&mut self) {
        self.day = self.stamp[..8].to_owned();
        self.scope = format!("{}/{}/{}/aws4_request", self.day, self.region, self.service);
        let secret = format!("AWS4{}", self.credentials.secret);
        let date = mac(keyed(secret.as_bytes()), self.day.as_bytes());
        let region = mac(keyed(&date), self.region.as_bytes());
        let service = mac(keyed(&region), self.service.as_bytes());
        self.day_key = keyed(&mac(keyed(&service), b"aws4_request"));
    }

    /// The `authorization` header of a request made in this second. The request's `x-amz-date`
    /// header must be what [`Self::date`] gave for it.
    pub fn authorization(&mut self, unix_seconds: i64, request: &Request<'_>) -> String {
        self.date(unix_seconds);
        let mut canonical = Sha256::new();
        for part in [
            request.method,
            "\n",
            request.path,
            "\n",
            request.query,
            "\n",
        ] {
            canonical.update(part);
        }
        for (name, value) in request.headers {
            for part in [name, ":", value, "\n"] {
                canonical.update(part);
            }
        }
        canonical.update("\n");
        let mut names = String::with_capacity(64);
        for (index, (name, _)) in request.headers.iter().enumerate() {
            if index > 0 {
                names.push(';');
            }
            names.push_str(name);
        }
        canonical.update(&names);
        canonical.update("\n");
        canonical.update(request.payload_hash);

        let mut signing = self.day_key.clone();
        for part in ["AWS4-HMAC-SHA256\n", &self.stamp, "\n", &self.scope, "\n"] {
            signing.update(part.as_bytes());
        }
        signing.update(&hexadecimal(&canonical.finalize()));
        let signature = hexadecimal(&signing.finalize().into_bytes());

        let mut header = String::with_capacity(256);
        for part in [
            "AWS4-HMAC-SHA256 Credential=",
            &self.credentials.user,
            "/",
            &self.scope,
            ", SignedHeaders=",
            &names,
            ", Signature=",
        ] {
            header.push_str(part);
        }
        header.extend(signature.iter().map(|&digit| char::from(digit)));
        header
    }
}

/// An HMAC state for a key of any length. HMAC zero-pads a short key to the block itself, so
/// handing it the padded block is the same and cannot fail.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    Hmac::<Sha256>::new(&block.into())
}

fn mac(mut key: Hmac<Sha256>, data: &[u8]) -> [u8; 32] {
    key.update(data);
    key.finalize().into_bytes().into()
}

fn hexadecimal(bytes: &[u8]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'0'; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// The hexadecimal SHA-256 of a body in parts.
#[must_use]
pub fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    hexadecimal(&digest.finalize())
        .iter()
        .map(|&digit| char::from(digit))
        .collect()
}

/// Percent-encodes as SigV4 asks (RFC 3986 unreserved characters stay), with slashes kept in a
/// path and encoded in a query value.
pub fn encode_into(out: &mut String, text: &str, keep_slash: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            b'/' if keep_slash => out.push('/'),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signature(header: &str) -> &str {
        header.rsplit_once("Signature=").unwrap().1
    }

    /// AWS's test suite for signature version 4: service `service`, 30 August 2015.
    fn suite(method: &str, query: &str) -> String {
        let credentials = Credentials {
            user: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            authorities: None,
        };
        let mut signer = Signer::new(credentials, "us-east-1", "service");
        assert_eq!(signer.date(1_440_938_160), "20150830T123600Z");
        signer.authorization(
            1_440_938_160,
            &Request {
                method,
                path: "/",
                query,
                headers: &[
                    ("host", "example.amazonaws.com"),
                    ("x-amz-date", "20150830T123600Z"),
                ],
                payload_hash: EMPTY_SHA256,
            },
        )
    }

    #[test]
    fn get_vanilla() {
        assert_eq!(
            suite("GET", ""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn post_vanilla() {
        assert_eq!(
            signature(&suite("POST", "")),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }

    #[test]
    fn get_vanilla_query_order_key_case() {
        assert_eq!(
            signature(&suite("GET", "Param1=value1&Param2=value2")),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
    }

    /// The examples of the Amazon S3 API reference: 24 May 2013, `examplebucket`.
    fn s3(
        method: &str,
        path: &str,
        query: &str,
        extra: &[(&'static str, &'static str)],
        hash: &str,
    ) -> String {
        let credentials = Credentials {
            user: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            authorities: None,
        };
        let mut headers = vec![
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", hash),
            ("x-amz-date", "20130524T000000Z"),
        ];
        headers.extend_from_slice(extra);
        headers.sort_unstable();
        let mut signer = Signer::new(credentials, "us-east-1", "s3");
        let request = Request {
            method,
            path,
            query,
            headers: &headers,
            payload_hash: hash,
        };
        signature(&signer.authorization(1_369_353_600, &request)).to_owned()
    }

    #[test]
    fn s3_get_object_with_range() {
        assert_eq!(
            s3(
                "GET",
                "/test.txt",
                "",
                &[("range", "bytes=0-9")],
                EMPTY_SHA256
            ),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn s3_put_object() {
        let mut path = String::new();
        encode_into(&mut path, "/test$file.text", true);
        let extra = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert_eq!(
            s3(
                "PUT",
                &path,
                "",
                &extra,
                &sha256_hex(&[b"Welcome to", b" Amazon S3."])
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }

    #[test]
    fn s3_get_bucket_lifecycle() {
        assert_eq!(
            s3("GET", "/", "lifecycle=", &[], EMPTY_SHA256),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
    }

    #[test]
    fn s3_list_objects() {
        assert_eq!(
            s3("GET", "/", "max-keys=2&prefix=J", &[], EMPTY_SHA256),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn debug_hides_the_secret() {
        let credentials = Credentials {
            user: "id".into(),
            secret: "hush".into(),
            session_token: Some("token".into()),
            authorities: None,
        };
        let text = format!("{credentials:?}");
        assert!(!text.contains("hush") && !text.contains("token"), "{text}");
    }

    fn official(secret: &str, key: &str, query: &[(String, String)], seconds: u64) -> String {
        use aws_sigv4::http_request::{
            PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest,
            SigningSettings, UriPathNormalizationMode, sign,
        };
        use aws_sigv4::sign::v4;
        let identity =
            aws_credential_types::Credentials::new("AKID", secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("eu-west-3")
            .name("s3")
            .time(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mut uri = String::from("http://host:9000/bucket/");
        encode_into(&mut uri, key, true);
        for (index, (name, value)) in query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            encode_into(&mut uri, name, false);
            uri.push('=');
            encode_into(&mut uri, value, false);
        }
        let request = SignableRequest::new(
            "PUT",
            &uri,
            std::iter::empty(),
            SignableBody::UnsignedPayload,
        )
        .unwrap();
        sign(request, &parameters).unwrap().into_parts().1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn signs_like_the_official_crate(
            secret in "[!-~]{1,90}",
            key in "[a-zäöü/ +*%$=~.]{1,40}",
            prefix in "[a-zß/ &=+]{0,20}",
            seconds in 0_u64..4_000_000_000,
        ) {
            // Dot segments are normalised away by URL parsers before signing; S3 keys avoid them.
            prop_assume!(!key.split('/').any(|part| part == "." || part == ".."));
            let query = vec![("list-type".to_owned(), "2".to_owned()), ("prefix".to_owned(), prefix.clone())];
            let expected = official(&secret, &key, &query, seconds);
            let credentials = Credentials {
                user: "AKID".into(), secret, session_token: None, authorities: None,
            };
            let mut signer = Signer::new(credentials, "eu-west-3", "s3");
            let seconds = i64::try_from(seconds).unwrap();
            let date = signer.date(seconds).to_owned();
            let mut path = String::from("/bucket/");
            encode_into(&mut path, &key, true);
            let mut text = String::from("list-type=2&prefix=");
            encode_into(&mut text, &prefix, false);
            let header = signer.authorization(seconds, &Request {
                method: "PUT", path: &path, query: &text,
                headers: &[("host", "host:9000"), ("x-amz-content-sha256", UNSIGNED_PAYLOAD), ("x-amz-date", &date)],
                payload_hash: UNSIGNED_PAYLOAD,
            });
            prop_assert_eq!(signature(&header), expected);
        }
    }
}
