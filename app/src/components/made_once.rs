use super::{Notice, Tone};
use domain::people::Secret;
use leptos::prelude::*;

/// Something that opens a door and has just been made. It is not shown again.
#[component]
pub fn MadeOnce(
    #[prop(into)] title: String,
    /// A key, or the path of a link: that is shown with the address of this server where the browser knows it.
    made: Secret,
    #[prop(into)] help: String,
) -> impl IntoView {
    let word = made.0;
    let shown = RwSignal::new(word.clone());
    // Effects run in the browser only.
    Effect::new(move |_| {
        if word.starts_with('/')
            && let Ok(origin) = window().location().origin()
        {
            shown.set(format!("{origin}{word}"));
        }
    });
    view! {
        <div id="made">
            <Notice tone=Tone::Good title>
                <p>
                    <code class="made-once" data-made="">
                        {shown}
                    </code>
                </p>
                <p class="small">{help}</p>
            </Notice>
        </div>
    }
    .into_any()
}
