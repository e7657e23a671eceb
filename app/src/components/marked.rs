use crate::difference::{Grain, Stretch, compare};
use leptos::prelude::*;

/// A text of which some stretches are marked.
#[component]
pub fn MarkedText(stretches: Vec<Stretch>) -> impl IntoView {
    stretches
        .into_iter()
        .map(|stretch| match stretch.differs {
            true => view! { <mark class="mark">{visible(&stretch.text)}</mark> }.into_any(),
            false => stretch.text.into_any(),
        })
        .collect_view()
}

/// A text before and after a change, one above the other, with what differs marked.
#[component]
pub fn BeforeAndAfterText(before: String, after: String) -> impl IntoView {
    let (before, after) = compare(&before, &after, Grain::Characters);
    view! {
        <dl class="before-after-text">
            <dt>"before"</dt>
            <dd>
                <MarkedText stretches=before />
            </dd>
            <dt>"after"</dt>
            <dd>
                <MarkedText stretches=after />
            </dd>
        </dl>
    }
    .into_any()
}

/// What cannot be seen is given a face: control characters become their pictures, as in U+2400 to U+2421.
fn visible(text: &str) -> String {
    let picture = |character: char| match character {
        '\n' | '\t' => character,
        '\u{7f}' => '\u{2421}',
        control @ '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(control)).unwrap_or(control),
        '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => '\u{fffd}',
        other => other,
    };
    text.chars().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_can_be_seen() {
        assert_eq!(visible("a\u{0}\u{1f}\u{7f}b\u{feff}"), "a\u{2400}\u{241f}\u{2421}b\u{fffd}");
        assert_eq!(visible("plain ä"), "plain ä");
    }
}
