use domain::attribution::{Attribution, Method, WordWeight};
use leptos::prelude::*;

/// A text whose words are shaded by what they do for the answer, with a legend, and the same in words.
#[component]
pub fn ShadedText(attribution: Attribution) -> impl IntoView {
    let largest = attribution.largest();
    let words = attribution.words.iter().map(|word| shaded(word, largest)).collect_view();
    let how = match attribution.method {
        Method::Occlusion => "Each word's weight is what ln p of the label loses when the word is taken out.",
        Method::Gradient => {
            "Each word's weight is the gradient of ln p of the label at its embedding, times that embedding: an estimate."
        }
    };
    let head = format!("Why {} ({:.1} % without temperature)", attribution.label, 100.0 * attribution.probability);
    let cut = attribution.cut.then_some(" The text is longer than the context; words behind its end were not read.");
    view! {
        <figure class="shaded">
            <figcaption class="shaded-head">
                <strong>{head}</strong>
                <span class="soft small number">{format!("{:.0} ms", attribution.duration_ms)}</span>
            </figcaption>
            <p class="shaded-text" aria-hidden="true">
                {words}
            </p>
            <ul class="shaded-legend" aria-hidden="true">
                <li>
                    <span class="shaded-word is-for" style="--weight:0.8">
                        "speaks for it"
                    </span>
                </li>
                <li>
                    <span class="shaded-word is-against" style="--weight:0.8">
                        "speaks against it"
                    </span>
                </li>
                <li class="soft">"the darker, the more"</li>
            </ul>
            <p class="small">{attribution.in_words()}</p>
            <p class="small soft">{how} {cut}</p>
        </figure>
    }
    .into_any()
}

fn shaded(word: &WordWeight, largest: f64) -> impl IntoView + use<> {
    let share = (word.weight.abs() / largest).min(1.0);
    // The white space behind a word is not shaded.
    let end = word.text.trim_end().len();
    let (inked, space) = (word.text[..end].to_string(), word.text[end..].to_string());
    let class = match share {
        share if share < 0.05 => "shaded-word",
        _ if word.weight > 0.0 => "shaded-word is-for",
        _ => "shaded-word is-against",
    };
    view! {
        <span class=class style=format!("--weight:{share:.2}") title=format!("{:+.3}", word.weight)>
            {inked}
        </span>
        {space}
    }
}
