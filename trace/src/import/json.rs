//! JSON of any length: documents one after the other, in which the objects that matter lie in arrays. They are handed out one
//! by one, and of each only the fields that are asked for.

use std::cell::Cell;
use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::input::{Input, MOST_BYTES};
use crate::error::{Error, Place};

/// Arrays and objects that lie in each other at most.
const MOST_DEPTH: usize = 64;
/// Bytes of a number or a word.
const MOST_TOKEN: usize = 256;

/// Where the objects lie, and what is asked of them.
pub(super) struct Search<'a> {
    /// The keys that lead to them, each in one of several spellings. Arrays on the way are walked through.
    pub(super) route: &'a [&'a [&'a str]],
    /// Keys that may stand around the route.
    pub(super) around: &'a [&'a str],
    /// Paths of the fields, with dots between the keys.
    pub(super) fields: &'a [&'a str],
}

/// An object that was found.
pub(super) struct Found<'a> {
    /// Its fields, in the order in which they were asked for: texts, numbers and truth values as text.
    pub(super) fields: &'a [Option<String>],
    /// How many times the end of the route was reached: objects of one array share it.
    pub(super) group: u64,
    pub(super) place: Place,
}

/// Hands out all objects of an input.
pub(super) fn each(
    input: &mut Input<'_>,
    search: &Search<'_>,
    sink: &mut dyn FnMut(Found<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let place = Cell::new(input.place());
    let mut guard = Guard {
        input,
        buffer: vec![0; 16 << 10],
        next: 0,
        end: 0,
        place: &place,
        text: None,
        escaped: false,
        depth: 0,
        token: 0,
    };
    let mut leaf = Leaf {
        search,
        place: &place,
        found: Vec::new(),
        group: 0,
        sink,
        error: None,
    };
    while guard.document()? {
        let mut json = serde_json::Deserializer::from_reader(&mut guard);
        let walked = Walk {
            route: search.route,
            leaf: &mut leaf,
        }
        .deserialize(&mut json);
        if let Some(error) = leaf.error.take() {
            return Err(error);
        }
        walked.map_err(|error| {
            // The places of serde_json count from the start of the document.
            let said = error.to_string();
            let said = said
                .rsplit_once(" at line ")
                .map_or(said.as_str(), |(said, _)| said);
            Error::input(place.get(), format!("the JSON cannot be read: {said}"))
        })?;
    }
    Ok(())
}

/// Watches over the bytes that a parser takes: it would hold a text of any length.
struct Guard<'a, 'i> {
    input: &'a mut Input<'i>,
    buffer: Vec<u8>,
    next: usize,
    end: usize,
    place: &'a Cell<Place>,
    /// Bytes of the text that is being read.
    text: Option<usize>,
    escaped: bool,
    depth: usize,
    token: usize,
}

impl Guard<'_, '_> {
    fn fill(&mut self) -> std::io::Result<bool> {
        if self.next == self.end {
            self.next = 0;
            self.end = self.input.read(&mut self.buffer)?;
        }
        Ok(self.next < self.end)
    }

    /// Whether another document follows; what may stand between two of them is skipped.
    fn document(&mut self) -> Result<bool, Error> {
        loop {
            let place = self.place.get();
            if !self
                .fill()
                .map_err(|error| super::input::failed(place, &error))?
            {
                return Ok(false);
            }
            match self.buffer[self.next] {
                // Also the mark of a record of RFC 7464.
                b' ' | b'\t' | b'\r' | b'\n' | 0x1e => {
                    self.moved(self.buffer[self.next]);
                    self.next += 1;
                }
                b'{' | b'[' => {
                    self.depth = 0;
                    return Ok(true);
                }
                _ => {
                    return Err(Error::input(
                        place,
                        "an object or an array of JSON is expected here",
                    ));
                }
            }
        }
    }

    fn moved(&self, byte: u8) {
        let mut place = self.place.get();
        place.byte += 1;
        place.line += u64::from(byte == b'\n');
        self.place.set(place);
    }

    fn watch(&mut self, byte: u8) -> std::io::Result<()> {
        self.moved(byte);
        if let Some(length) = self.text {
            self.text = Some(length + 1);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.text = None,
                _ if length >= MOST_BYTES => {
                    return Err(std::io::Error::other("a text is longer than 1 MiB"));
                }
                _ => {}
            }
            return Ok(());
        }
        self.token = if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':') {
            0
        } else {
            self.token + 1
        };
        match byte {
            b'"' => (self.text, self.token) = (Some(0), 0),
            b'{' | b'[' if self.depth >= MOST_DEPTH => {
                return Err(std::io::Error::other(
                    "arrays and objects lie deeper than 64",
                ));
            }
            b'{' | b'[' => (self.depth, self.token) = (self.depth + 1, 0),
            b'}' | b']' => (self.depth, self.token) = (self.depth.saturating_sub(1), 0),
            _ if self.token > MOST_TOKEN => {
                return Err(std::io::Error::other("a number is longer than 256 bytes"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Read for Guard<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if !self.fill()? {
            return Ok(0);
        }
        let count = out.len().min(self.end - self.next);
        for target in out.iter_mut().take(count) {
            let byte = self.buffer[self.next];
            self.watch(byte)?;
            *target = byte;
            self.next += 1;
        }
        Ok(count)
    }
}

/// Where objects go.
struct Leaf<'a> {
    search: &'a Search<'a>,
    place: &'a Cell<Place>,
    found: Vec<Option<String>>,
    group: u64,
    sink: &'a mut dyn FnMut(Found<'_>) -> Result<(), Error>,
    error: Option<Error>,
}

/// Follows the route.
struct Walk<'a, 'l> {
    route: &'a [&'a [&'a str]],
    leaf: &'a mut Leaf<'l>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq
            .next_element_seed(Walk {
                route: self.route,
                leaf: &mut *self.leaf,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let leaf = self.leaf;
        let Some((keys, rest)) = self.route.split_first() else {
            // Its first bracket was just read.
            let mut place = leaf.place.get();
            place.byte = place.byte.saturating_sub(1);
            leaf.found.clear();
            leaf.found.resize(leaf.search.fields.len(), None);
            let wanted: Vec<_> = leaf.search.fields.iter().copied().enumerate().collect();
            Fill {
                wanted: &wanted,
                found: &mut leaf.found,
            }
            .visit_map(map)?;
            let found = Found {
                fields: &leaf.found,
                group: leaf.group,
                place,
            };
            return (leaf.sink)(found).map_err(|error| {
                let said = A::Error::custom("given up");
                leaf.error = Some(error);
                said
            });
        };
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key.as_str()) {
                leaf.group += u64::from(rest.is_empty());
                map.next_value_seed(Walk {
                    route: rest,
                    leaf: &mut *leaf,
                })?;
            } else if leaf.search.around.contains(&key.as_str()) {
                map.next_value_seed(Walk {
                    route: self.route,
                    leaf: &mut *leaf,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Takes fields out of an object: the number of each, and what is left of its path.
struct Fill<'a> {
    wanted: &'a [(usize, &'a str)],
    found: &'a mut [Option<String>],
}

impl Fill<'_> {
    fn set(self, text: impl Into<String>) {
        let text = text.into();
        for (index, _) in self.wanted.iter().filter(|(_, rest)| rest.is_empty()) {
            self.found[*index] = Some(text.clone());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(Under(self.wanted))? {
            if wanted.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Fill {
                    wanted: &wanted,
                    found: &mut *self.found,
                })?;
            }
        }
        Ok(())
    }
}

/// Which of the fields lie under a key.
struct Under<'a>(&'a [(usize, &'a str)]);

impl<'de, 'a> DeserializeSeed<'de> for Under<'a> {
    type Value = Vec<(usize, &'a str)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Under<'a> {
    type Value = Vec<(usize, &'a str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        // A key may have dots itself, so that a path is not split beforehand.
        let under = self
            .0
            .iter()
            .filter_map(|(index, rest)| match rest.strip_prefix(key)? {
                "" if !rest.is_empty() => Some((*index, "")),
                more => more.strip_prefix('.').map(|more| (*index, more)),
            });
        Ok(under.filter(|_| !key.is_empty()).collect())
    }
}
