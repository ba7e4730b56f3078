//! A figure over the age of a table.

use crate::measured::CellBackend;
use bakeoff_crds::figure::Figure;

/// A figure over the time since the table was loaded: hours and values, of one table and in order.
pub(super) struct Course {
    pub points: Vec<(f64, f64)>,
}

impl Course {
    /// Of the table that lasted for most segments: a table that had to be loaded anew begins a new course.
    pub fn of(on: &CellBackend, figure: Figure) -> Self {
        let of = |figure: Figure| on.figures.get(&figure).map_or(&[][..], |one| &one.blocks);
        let at = |figure: Figure, block: i32| {
            of(figure)
                .iter()
                .find(|point| point.block == block)
                .map(|point| point.value)
        };
        let mut tables: Vec<(f64, Vec<(f64, f64)>)> = Vec::new();
        for point in of(figure) {
            let (Some(hours), Some(loaded)) = (
                at(Figure::TableAgeHours, point.block),
                at(Figure::TableLoadedAtSeconds, point.block),
            ) else {
                continue;
            };
            match tables.iter_mut().find(|(other, _)| *other == loaded) {
                Some((_, points)) => points.push((hours, point.value)),
                None => tables.push((loaded, vec![(hours, point.value)])),
            }
        }
        let mut points = tables
            .into_iter()
            .map(|(_, points)| points)
            .max_by_key(Vec::len)
            .unwrap_or_default();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { points }
    }

    /// The points after the middle of the time: before it the table is still on its way to its shape.
    pub fn second_half(&self) -> &[(f64, f64)] {
        Self::second_half_of(&self.points)
    }

    /// The same of a part of the course.
    pub fn second_half_of(points: &[(f64, f64)]) -> &[(f64, f64)] {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return &[];
        };
        let middle = (first.0 + last.0) / 2.0;
        let from = points.partition_point(|(hours, _)| *hours < middle);
        &points[from..]
    }

    /// How many segments the second half lacks until it begins where the figure is within so many percent of its last
    /// value, if it stays there.
    pub fn until_flat(&self, percent: f64) -> f64 {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return f64::INFINITY;
        };
        let near = last.1 / (1.0 + percent / 100.0);
        let reached = self.points.iter().find(|(_, value)| *value >= near);
        let Some((reached, _)) = reached else {
            return f64::INFINITY;
        };
        // The half begins in the middle of the whole.
        let whole = 2.0 * (reached - first.0);
        let pace = (last.0 - first.0) / (self.points.len() - 1).max(1) as f64;
        ((whole - (last.0 - first.0)) / pace / 2.0).max(0.0)
    }

    pub fn sum(&self) -> Option<f64> {
        let half = self.second_half();
        (!half.is_empty()).then(|| half.iter().map(|(_, value)| value).sum())
    }

    pub fn most(&self) -> Option<f64> {
        self.points.iter().map(|(_, value)| *value).reduce(f64::max)
    }
}
