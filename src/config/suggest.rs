//! "Did you mean": the known word nearest to a mistyped one.

/// The word of `known` that is nearest to `word`, if one is near enough to be what was meant.
///
/// Near enough: at most a third of the letters differ (an inserted, missing, changed or swapped letter counts one).
#[must_use]
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(LONGEST).collect();
    known
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = candidate.to_lowercase().chars().collect();
            (distance(&word, &letters), letters.len(), candidate)
        })
        .filter(|(distance, letters, _)| *distance <= word.len().max(*letters).div_ceil(3))
        .min_by_key(|(distance, _, _)| *distance)
        .map(|(_, _, candidate)| candidate)
}

/// No word we know is longer; bounds the work for hostile input.
const LONGEST: usize = 64;

/// Edits between two words: insert, remove, change, swap two neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, one) in left.iter().enumerate() {
        let mut next = vec![row.saturating_add(1)];
        for (column, other) in right.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(0);
            let changed = at(&last, column).saturating_add(usize::from(one != other));
            let removed = at(&last, column.saturating_add(1)).saturating_add(1);
            let inserted = at(&next, column).saturating_add(1);
            let mut best = changed.min(removed).min(inserted);
            let swapped = row > 0
                && column > 0
                && left.get(row.saturating_sub(1)) == Some(other)
                && right.get(column.saturating_sub(1)) == Some(one);
            if swapped {
                best = best.min(at(&before, column.saturating_sub(1)).saturating_add(1));
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(0)
}
