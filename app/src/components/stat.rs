use leptos::prelude::*;

/// A row of figures; the children are `Stat`s.
#[component]
pub fn Stats(children: Children) -> impl IntoView {
    view! { <dl class="stats">{children()}</dl> }
}

/// One figure with its name and, where it helps, a word on it.
#[component]
pub fn Stat(
    #[prop(into)] name: String,
    #[prop(into)] value: Signal<String>,
    #[prop(optional, into)] note: Signal<Option<String>>,
) -> impl IntoView {
    view! {
        <div class="stat">
            <dt class="stat-name">{name}</dt>
            <dd class="stat-value">{value}</dd>
            {move || note.get().map(|note| view! { <dd class="stat-note">{note}</dd> })}
        </div>
    }
}
