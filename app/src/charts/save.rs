//! Charts as pictures: what the browser shows, as PNG or as SVG, saved as a file.

use super::still::page_colors;
use leptos::prelude::*;
use leptos::web_sys::HtmlElement;
use serde_json::{Value, json};
use wasm_bindgen::{JsCast, JsValue, prelude::*};

#[wasm_bindgen]
extern "C" {
    type Drawn;
    #[wasm_bindgen(js_namespace = echarts, js_name = getInstanceByDom)]
    fn instance_of(element: &HtmlElement) -> Option<Drawn>;
    #[wasm_bindgen(js_namespace = echarts, js_name = init)]
    fn init(element: &JsValue, theme: &JsValue, how: &JsValue) -> Drawn;
    #[wasm_bindgen(method, js_name = getOption)]
    fn option(this: &Drawn) -> JsValue;
    #[wasm_bindgen(method, js_name = setOption)]
    fn set_option(this: &Drawn, option: &JsValue);
    #[wasm_bindgen(method, js_name = getDataURL)]
    fn data_url(this: &Drawn, how: &JsValue) -> String;
    #[wasm_bindgen(method, js_name = renderToSVGString)]
    fn svg(this: &Drawn) -> String;
    #[wasm_bindgen(method, js_name = getWidth)]
    fn width(this: &Drawn) -> f64;
    #[wasm_bindgen(method, js_name = getHeight)]
    fn height(this: &Drawn) -> f64;
    #[wasm_bindgen(method)]
    fn dispose(this: &Drawn);
}

/// Saves the chart of the element with this id. Nothing happens where there is none.
pub fn save(id: &str, kind: &str, file_name: &str) {
    let Some(element) = document().get_element_by_id(id).and_then(|element| element.dyn_into::<HtmlElement>().ok())
    else {
        return;
    };
    let Some(chart) = instance_of(&element) else { return };
    let ground = page_colors().surface;
    let url = if kind == "svg" {
        let how = json!({ "renderer": "svg", "ssr": true, "width": chart.width(), "height": chart.height() });
        let drawn = init(&JsValue::NULL, &JsValue::NULL, &to_js(&how));
        drawn.set_option(&chart.option());
        drawn.set_option(&to_js(&json!({ "backgroundColor": ground, "animation": false })));
        let svg = drawn.svg();
        drawn.dispose();
        format!("data:image/svg+xml;charset=utf-8,{}", String::from(js_sys::encode_uri_component(&svg)))
    } else {
        chart.data_url(&to_js(&json!({ "type": "png", "pixelRatio": 2, "backgroundColor": ground })))
    };
    let Ok(link) = document().create_element("a") else { return };
    // Attributes of a fresh link cannot be refused.
    let _ = link.set_attribute("href", &url);
    let _ = link.set_attribute("download", &format!("{file_name}.{kind}"));
    if let Ok(link) = link.dyn_into::<HtmlElement>() {
        link.click();
    }
}

fn to_js(value: &Value) -> JsValue {
    js_sys::JSON::parse(&value.to_string()).unwrap_or(JsValue::NULL)
}
