//! A strict reader of the two documents that the measured path meets: `ListBucketResult` and
//! `Error`. Strict, because a listing that is silently cut is what the consistency checks hunt.

use quick_xml::Reader;
use quick_xml::events::Event;

/// One entry of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The key, exactly as the server wrote it.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// The ETag without quotes; empty when absent.
    pub etag: String,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The entries in the server's order.
    pub entries: Vec<Entry>,
    /// Whether more follow.
    pub truncated: bool,
    /// Where the next page starts, when more follow.
    pub next_token: Option<String>,
}

/// An S3 error document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorDocument {
    /// `NoSuchKey`, `SlowDown`, …
    pub code: String,
    /// Words for people.
    pub message: String,
    /// The region that the bucket is in, where it is said.
    pub region: String,
    /// The endpoint that the bucket is at, where it is said.
    pub endpoint: String,
}

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed.
    #[error("XML: {0}")]
    Syntax(#[from] quick_xml::Error),
    /// Well-formed, and not what S3 promises.
    #[error("listing: {0}")]
    Shape(&'static str),
}

impl XmlError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "XmlSyntax",
            Self::Shape(_) => "XmlShape",
        }
    }
}

/// Walks a document and gives each leaf's path (names joined by `/`) and text, and each element's
/// end, to the visitor.
pub(crate) fn walk(
    document: &[u8],
    mut leaf: impl FnMut(&str, &str) -> Result<(), XmlError>,
    mut end: impl FnMut(&str) -> Result<(), XmlError>,
) -> Result<(), XmlError> {
    let mut reader = Reader::from_reader(document);
    let mut path = String::new();
    let mut text = String::new();
    let mut is_leaf = false;
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(&String::from_utf8_lossy(start.local_name().as_ref()));
                text.clear();
                is_leaf = true;
            }
            Event::Empty(start) => {
                let length = path.len();
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(&String::from_utf8_lossy(start.local_name().as_ref()));
                leaf(&path, "")?;
                end(&path)?;
                path.truncate(length);
                is_leaf = false;
            }
            Event::End(_) => {
                if is_leaf {
                    leaf(&path, &text)?;
                }
                end(&path)?;
                path.truncate(path.rfind('/').unwrap_or(0));
                is_leaf = false;
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(quick_xml::Error::from)?),
            Event::CData(part) => text.push_str(&part.decode().map_err(quick_xml::Error::from)?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref()? {
                Some(character) => text.push(character),
                None => text.push(match reference.as_ref() {
                    b"amp" => '&',
                    b"lt" => '<',
                    b"gt" => '>',
                    b"quot" => '"',
                    b"apos" => '\'',
                    _ => return Err(XmlError::Shape("unknown entity")),
                }),
            },
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
        }
    }
    if path.is_empty() {
        Ok(())
    } else {
        Err(XmlError::Shape("the document ends too soon"))
    }
}

/// Reads a `ListBucketResult`.
///
/// # Errors
/// When the document is not well-formed, is another document, has an entry without key or size,
/// or says that it is truncated without saying where to go on.
pub fn parse_list(document: &[u8]) -> Result<ListPage, XmlError> {
    let mut page = ListPage::default();
    let mut key: Option<String> = None;
    let mut size: Option<u64> = None;
    let mut etag = String::new();
    let mut truncated = None;
    let mut done: Vec<Entry> = Vec::new();
    // Both visitors fill the entry under construction, so it lives in cells.
    let entry = std::cell::RefCell::new((&mut key, &mut size, &mut etag));
    let rooted = std::cell::Cell::new(false);
    let mut encoded = false;
    walk(
        document,
        |path, text| {
            let mut entry = entry.borrow_mut();
            match path {
                "ListBucketResult/Contents/Key" => *entry.0 = Some(text.to_owned()),
                "ListBucketResult/Contents/Size" => {
                    *entry.1 = Some(
                        text.trim()
                            .parse()
                            .map_err(|_| XmlError::Shape("size is no number"))?,
                    );
                }
                "ListBucketResult/Contents/ETag" => *entry.2 = text.trim_matches('"').to_owned(),
                "ListBucketResult/IsTruncated" => {
                    truncated = Some(match text.trim() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(XmlError::Shape("IsTruncated is neither true nor false")),
                    });
                }
                "ListBucketResult/EncodingType" => {
                    encoded = text.trim().eq_ignore_ascii_case("url")
                }
                "ListBucketResult/NextContinuationToken" if !text.is_empty() => {
                    page.next_token = Some(text.to_owned());
                }
                _ => {}
            }
            Ok(())
        },
        |path| {
            match path {
                "ListBucketResult" => rooted.set(true),
                "ListBucketResult/Contents" => {
                    let mut entry = entry.borrow_mut();
                    let (Some(key), Some(size)) = (entry.0.take(), entry.1.take()) else {
                        return Err(XmlError::Shape("entry without key or size"));
                    };
                    done.push(Entry {
                        key,
                        size,
                        etag: std::mem::take(entry.2),
                    });
                }
                _ => {}
            }
            Ok(())
        },
    )?;
    if !rooted.get() {
        return Err(XmlError::Shape("not a ListBucketResult"));
    }
    if encoded {
        // Some stores encode keys unasked, and say so.
        for entry in &mut done {
            entry.key = decoded(&entry.key)?;
        }
    }
    page.entries = done;
    page.truncated = truncated.ok_or(XmlError::Shape("IsTruncated is missing"))?;
    if page.truncated && page.next_token.is_none() {
        return Err(XmlError::Shape("truncated without a continuation token"));
    }
    Ok(page)
}

/// A key without the encoding of URLs, in which a space is a plus.
///
/// # Errors
/// When it is not encoded so.
pub fn decoded(key: &str) -> Result<String, XmlError> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(rest.next())
                .zip(digit(rest.next()))
                .and_then(|(high, low)| u8::try_from(16 * high + low).ok())
                .ok_or(XmlError::Shape("a key is not encoded as it says"))?,
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| XmlError::Shape("a key is no UTF-8"))
}

/// Reads an `Error` document; `None` when it is something else.
#[must_use]
pub fn parse_error(document: &[u8]) -> Option<ErrorDocument> {
    let mut error = ErrorDocument::default();
    let read = walk(
        document,
        |path, text| {
            match path {
                "Error/Code" => text.clone_into(&mut error.code),
                "Error/Message" => text.clone_into(&mut error.message),
                "Error/Region" => text.trim().clone_into(&mut error.region),
                "Error/Endpoint" => text.trim().clone_into(&mut error.endpoint),
                _ => {}
            }
            Ok(())
        },
        |_| Ok(()),
    );
    (read.is_ok() && !error.code.is_empty()).then_some(error)
}

/// The mode of the default retention of an `ObjectLockConfiguration`, where it has one.
#[must_use]
pub fn parse_retention(document: &[u8]) -> Option<String> {
    let mut mode = None;
    let read = walk(
        document,
        |path, text| {
            if path == "ObjectLockConfiguration/Rule/DefaultRetention/Mode" {
                mode = Some(text.trim().to_owned());
            }
            Ok(())
        },
        |_| Ok(()),
    );
    mode.filter(|_| read.is_ok())
}

/// Whether a `VersioningConfiguration` says that new objects get versions: `Enabled`, `Suspended`.
#[must_use]
pub fn parse_versioning(document: &[u8]) -> Option<String> {
    let mut status = None;
    let read = walk(
        document,
        |path, text| {
            if path == "VersioningConfiguration/Status" && !text.trim().is_empty() {
                status = Some(text.trim().to_owned());
            }
            Ok(())
        },
        |_| Ok(()),
    );
    status.filter(|_| read.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>b</Name><Prefix/><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated>
  <Contents><Key>a&amp;b &#xFC;</Key><LastModified>2026-01-01T00:00:00Z</LastModified>
    <ETag>&quot;abc&quot;</ETag><Size>7</Size><StorageClass/></Contents>
  <Contents><Key> lead and trail </Key><ETag/><Size>0</Size><Owner><ID>x</ID></Owner></Contents>
  <NextContinuationToken>t==</NextContinuationToken>
</ListBucketResult>"#;

    #[test]
    fn reads_a_page() {
        let page = parse_list(PAGE.as_bytes()).unwrap();
        assert!(page.truncated);
        assert_eq!(page.next_token.as_deref(), Some("t=="));
        assert_eq!(
            page.entries[0],
            Entry {
                key: "a&b ü".into(),
                size: 7,
                etag: "abc".into()
            }
        );
        assert_eq!(page.entries[1].key, " lead and trail ");
    }

    #[test]
    fn refuses_what_is_cut_or_odd() {
        for bad in [
            &PAGE[..PAGE.len() - 20],
            "",
            "<Other/>",
            "<ListBucketResult></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>",
        ] {
            assert!(parse_list(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(
            parse_list(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
                .is_ok()
        );
    }

    #[test]
    fn reads_dialects() {
        let keys = |document: &str| {
            let page = parse_list(document.as_bytes()).unwrap();
            let keys = page.entries.into_iter().map(|entry| entry.key);
            (keys.collect::<Vec<_>>(), page.next_token)
        };
        // Without a namespace, with another one, with a prefix.
        for (open, close) in [
            ("<ListBucketResult>", "</ListBucketResult>"),
            (
                "<ListBucketResult xmlns='http://obs.example/doc'>",
                "</ListBucketResult>",
            ),
            (
                "<s:ListBucketResult xmlns:s='urn:x'>",
                "</s:ListBucketResult>",
            ),
        ] {
            let body = "<IsTruncated> false </IsTruncated><Contents><Size> 1 </Size><Key>k</Key></Contents>";
            assert_eq!(keys(&format!("{open}{body}{close}")).0, ["k"]);
        }
        // Empty, and there is more.
        let (none, next) = keys(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
        );
        assert!(none.is_empty() && next.as_deref() == Some("t"));
        // Encoded unasked; what is not said to be encoded is not.
        let encoded = |encoding: &str| {
            format!(
                "<ListBucketResult>{encoding}<IsTruncated>false</IsTruncated><Contents><Key>a+b%2F%C3%BC%25</Key>\
                 <Size>1</Size></Contents></ListBucketResult>"
            )
        };
        assert_eq!(
            keys(&encoded("<EncodingType>url</EncodingType>")).0,
            ["a b/ü%"]
        );
        assert_eq!(keys(&encoded("")).0, ["a+b%2F%C3%BC%25"]);
        let bad = encoded("<EncodingType>url</EncodingType>").replace("%25", "%2");
        assert!(parse_list(bad.as_bytes()).is_err());
    }

    #[test]
    fn reads_an_error() {
        let error =
            parse_error(b"<Error><Code>SlowDown</Code><Message>less</Message></Error>").unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("SlowDown", "less")
        );
        assert!(parse_error(PAGE.as_bytes()).is_none());
    }
}
