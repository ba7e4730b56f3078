//! The names that an expression reads, and whether they exist.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};

use super::ObjectiveError;
use super::names::Node;

/// Collects the paths of figures that an expression reads, leaving out variables of macros.
pub(super) fn collect(
    expression: &IdedExpr,
    bound: &mut Vec<String>,
    paths: &mut BTreeSet<Vec<String>>,
) {
    if let Some(path) = path_of(expression) {
        if path.first().is_some_and(|root| !bound.contains(root)) {
            paths.insert(path);
        }
        return;
    }
    match &expression.expr {
        Expr::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                collect(part, bound, paths);
            }
        }
        Expr::Select(select) => collect(&select.operand, bound, paths),
        Expr::List(list) => list
            .elements
            .iter()
            .for_each(|element| collect(element, bound, paths)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(entry) = &entry.expr {
                    collect(&entry.key, bound, paths);
                    collect(&entry.value, bound, paths);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            collect(&comprehension.iter_range, bound, paths);
            collect(&comprehension.accu_init, bound, paths);
            let depth = bound.len();
            bound.push(comprehension.iter_var.clone());
            bound.extend(comprehension.iter_var2.clone());
            bound.push(comprehension.accu_var.clone());
            for part in [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ] {
                collect(part, bound, paths);
            }
            bound.truncate(depth);
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

/// `a.b["c"].d` as a path, or nothing for any other expression.
fn path_of(expression: &IdedExpr) -> Option<Vec<String>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
            match call.args.as_slice() {
                [
                    operand,
                    IdedExpr {
                        expr: Expr::Literal(LiteralValue::String(key)),
                        ..
                    },
                ] => {
                    let mut path = path_of(operand)?;
                    path.push(key.inner().to_owned());
                    Some(path)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

pub(super) fn find<'a>(tree: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(tree, |node, name| match node {
        Node::Group(members) => members.get(name),
        Node::Count(_) | Node::Rate(_) | Node::Unknown(_) => None,
    })
}

pub(super) fn names(node: &Node) -> String {
    match node {
        Node::Group(members) => members.keys().cloned().collect::<Vec<_>>().join(", "),
        Node::Count(_) | Node::Rate(_) | Node::Unknown(_) => {
            "nothing below it, it is a figure".to_owned()
        }
    }
}

pub(super) fn check_path(
    expression: &str,
    known: &Node,
    path: &[String],
) -> Result<(), ObjectiveError> {
    for end in 0..path.len() {
        if find(known, &path[..=end]).is_none() {
            let at = if end == 0 {
                "the experiment".to_owned()
            } else {
                path[..end].join(".")
            };
            return Err(ObjectiveError::UnknownName {
                expression: expression.to_owned(),
                path: path[..=end].join("."),
                at,
                known: find(known, &path[..end]).map(names).unwrap_or_default(),
            });
        }
    }
    match find(known, path) {
        Some(group @ Node::Group(_)) => Err(ObjectiveError::Group {
            expression: expression.to_owned(),
            path: path.join("."),
            known: names(group),
        }),
        _ => Ok(()),
    }
}
