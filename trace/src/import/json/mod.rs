//! JSON of any length: documents one after the other, in which the objects that matter lie in arrays. They are handed out one
//! by one, and of each only the fields that are asked for.

mod fill;
mod guard;

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::input::Input;
use crate::error::{Error, Place};
use fill::Fill;
use guard::Guard;

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
    let mut guard = Guard::new(input, &place);
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
