//! What is generated equals what is committed, and stays small enough to apply.

#![allow(clippy::panic, reason = "a test")]

use bakeoff_crds::{all_crds, reference};
use std::path::Path;

/// A larger definition cannot be applied by a client, which keeps a copy in an annotation.
const MAX_CRD_BYTES: usize = 250_000;

fn committed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_committed_definitions_and_reference_are_what_the_types_generate() {
    for crd in all_crds() {
        let name = crd.metadata.name.clone().unwrap();
        let yaml = reference::yaml(&crd).unwrap();
        assert!(
            yaml.len() < MAX_CRD_BYTES,
            "{name} has {} bytes",
            yaml.len()
        );
        assert!(
            committed(&format!("{name}.yaml")) == yaml,
            "crds/{name}.yaml is stale: run `make gen`"
        );
        let file = reference::file(&crd);
        assert!(
            committed(&format!("../docs/reference/{file}")) == reference::markdown(&crd),
            "docs/reference/{file} is stale: run `make gen`"
        );
    }
}

#[test]
fn every_field_of_the_specification_is_explained() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaProps, JSONSchemaPropsOrArray,
    };
    fn walk(path: &str, schema: &JSONSchemaProps, bare: &mut Vec<String>) {
        for (name, field) in schema.properties.iter().flatten() {
            let path = format!("{path}.{name}");
            if field.description.as_deref().unwrap_or_default().len() < 10 {
                bare.push(path.clone());
            }
            walk(&path, field, bare);
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
                walk(&path, item, bare);
            }
        }
    }
    let mut bare = Vec::new();
    for crd in all_crds() {
        for version in &crd.spec.versions {
            let root = version
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
                .as_ref()
                .unwrap();
            walk("experiment", root, &mut bare);
        }
    }
    assert!(bare.is_empty(), "without an explanation: {bare:?}");
}
