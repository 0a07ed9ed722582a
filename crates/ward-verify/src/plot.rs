//! Plots as inline SVG.

use maud::{Markup, html};

const WIDTH: f64 = 900.0;
const ROW: f64 = 22.0;
const LABEL: f64 = 300.0;
const HEIGHT: f64 = 180.0;
/// More bars than these cannot be told apart: neighbours are added up.
const MAX_COLUMNS: usize = 180;

/// Horizontal bars, a row each: label, parts, and their sum.
pub fn bars(rows: &[(String, Vec<u64>)], colours: &[&str]) -> Markup {
    let total = |parts: &[u64]| parts.iter().sum::<u64>();
    let most = rows
        .iter()
        .map(|(_, parts)| total(parts))
        .max()
        .unwrap_or(0)
        .max(1) as f64;
    let scale = (WIDTH - LABEL - 110.0) / most;
    let height = ROW * rows.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for (number, (label, parts)) in rows.iter().enumerate() {
                @let y = number as f64 * ROW;
                text x=(LABEL - 8.0) y=(y + 15.0) text-anchor="end" { (clipped(label)) title { (label) } }
                @for (at, part) in parts.iter().enumerate() {
                    rect x=(LABEL + total(&parts[..at]) as f64 * scale) y=(y + 3.0)
                        width=(*part as f64 * scale) height=(ROW - 6.0) fill=(colours[at % colours.len()]) {}
                }
                text x=(LABEL + total(parts) as f64 * scale + 6.0) y=(y + 15.0) { (total(parts)) }
            }
        }
    }
}

/// Vertical bars from left to right, with the first and last label below.
pub fn columns(values: &[(String, u64)], colour: &str) -> Markup {
    let step = values.len().div_ceil(MAX_COLUMNS).max(1);
    let groups: Vec<_> = values
        .chunks(step)
        .map(|group| {
            (
                &group[0].0,
                group.iter().map(|(_, value)| value).sum::<u64>(),
            )
        })
        .collect();
    let most = groups
        .iter()
        .map(|(_, value)| *value)
        .max()
        .unwrap_or(0)
        .max(1) as f64;
    let width = WIDTH / groups.len().max(1) as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", HEIGHT + 20.0)) role="img" {
            @for (number, (label, value)) in groups.iter().enumerate() {
                @let height = *value as f64 / most * (HEIGHT - 20.0);
                rect x=(number as f64 * width) y=(HEIGHT - height) width=((width - 1.0).clamp(0.5, 60.0)) height=(height)
                    fill=(colour) { title { (label) ": " (value) } }
            }
            text x="0" y="14" { "at most " (most) @if step > 1 { " in " (step) " days" } @else { " a day" } }
            @if let (Some((first, _)), Some((last, _))) = (values.first(), values.last()) {
                text x="0" y=(HEIGHT + 16.0) { (first) }
                @if values.len() > 1 {
                    text x=(WIDTH) y=(HEIGHT + 16.0) text-anchor="end" { (last) }
                }
            }
        }
    }
}

fn clipped(label: &str) -> String {
    const MOST: usize = 40;
    if label.chars().count() <= MOST {
        return label.to_owned();
    }
    label.chars().take(MOST - 1).chain(['\u{2026}']).collect()
}
