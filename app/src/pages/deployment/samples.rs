use crate::components::Card;
use leptos::prelude::*;

/// How programs ask it.
#[component]
pub fn Samples(name: String) -> impl IntoView {
    let origin = here();
    let curl = {
        let name = name.clone();
        move || {
            let origin = origin.get();
            format!(
                "curl {origin}/v1/classify -H 'content-type: application/json' \\\n  -d '{{\"model\": \"{name}\", \"text\": \
                 \"Profit rose by a third.\"}}'\n\n# A file of any length, with a column called text\ncurl -sN -T rows.csv -X \
                 POST -H 'content-type: text/csv' \\\n  '{origin}/v1/classify/stream?model={name}' > answers.csv"
            )
        }
    };
    let python = move || {
        let origin = origin.get();
        format!(
            "import json, urllib.request\n\nbody = json.dumps({{\"model\": \"{name}\", \"texts\": [\"Profit rose by a \
             third.\"]}})\nrequest = urllib.request.Request(\n    \"{origin}/v1/classify\",\n    body.encode(),\n    \
             {{\"content-type\": \"application/json\"}},\n)\nwith urllib.request.urlopen(request) as answer:\n    for result in \
             json.load(answer)[\"results\"]:\n        print(result[\"label\"], result[\"confidence\"])"
        )
    };
    view! {
        <Card title="Ask it">
            <div class="stack">
                <p class="soft">
                    "All of the API, with forms to try it: " <a href="/docs" rel="external">"/docs"</a> "; for programs "
                    <a href="/openapi.json" rel="external">"/openapi.json"</a> "."
                </p>
                <h3>"curl"</h3>
                <pre class="sample" tabindex="0" aria-label="With curl">
                    <code>{curl}</code>
                </pre>
                <h3>"Python"</h3>
                <pre class="sample" tabindex="0" aria-label="With Python">
                    <code>{python}</code>
                </pre>
            </div>
        </Card>
    }
    .into_any()
}

/// Where this server is for the browser; before the page has come to life, a usual address.
pub fn here() -> RwSignal<String> {
    let origin = RwSignal::new("http://127.0.0.1:3000".to_string());
    Effect::new(move |_| {
        if let Ok(there) = window().location().origin() {
            origin.set(there);
        }
    });
    origin
}
