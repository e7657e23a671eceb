//! A chart that lives in one element: made once by charming, then fed, resized and disposed of.

use charming::{Chart, Echarts, WasmRenderer};
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue, prelude::*};

/// Charts of this group, a run's, share their tooltip's place and their zoom.
const GROUP: &str = "run";

#[wasm_bindgen]
extern "C" {
    /// What charming's own handle leaves out.
    type Instance;
    #[wasm_bindgen(method, js_name = setOption)]
    fn set_option(this: &Instance, option: &JsValue, how: &JsValue);
    #[wasm_bindgen(method)]
    fn resize(this: &Instance);
    #[wasm_bindgen(method)]
    fn dispose(this: &Instance);
    #[wasm_bindgen(method, js_name = isDisposed)]
    fn is_disposed(this: &Instance) -> bool;
    #[wasm_bindgen(method, setter)]
    fn set_group(this: &Instance, group: &str);
    #[wasm_bindgen(js_namespace = echarts)]
    fn connect(group: &str);
}

/// Disposed of when dropped.
pub struct LiveChart(Echarts);

impl LiveChart {
    /// Draws into the element with this id.
    ///
    /// # Errors
    /// There is no such element, or the chart library has not arrived.
    pub fn mount(id: &str, option: &Value) -> Result<Self, String> {
        if !js_sys::Reflect::has(&js_sys::global(), &"echarts".into()).unwrap_or(false) {
            return Err("The chart library could not be loaded.".to_string());
        }
        let chart = WasmRenderer::new_opt(None, None).render(id, &Chart::new()).map_err(|error| error.to_string())?;
        let chart = Self(chart);
        chart.replace(option);
        Ok(chart)
    }

    /// Joins the group of charts that move together.
    pub fn linked(self) -> Self {
        self.instance().set_group(GROUP);
        connect(GROUP);
        self
    }

    fn instance(&self) -> &Instance {
        self.0.unchecked_ref()
    }

    /// Draws this option and nothing of the one before; the zoom begins anew.
    pub fn replace(&self, option: &Value) {
        self.instance().set_option(&to_js(option), &how("notMerge"));
    }

    /// Merges what has changed into what is drawn, at the next animation frame.
    pub fn merge(&self, option: &Value) {
        self.instance().set_option(&to_js(option), &how("lazyUpdate"));
    }

    pub fn resize(&self) {
        self.instance().resize();
    }
}

impl Drop for LiveChart {
    fn drop(&mut self) {
        if !self.instance().is_disposed() {
            self.instance().dispose();
        }
    }
}

fn how(word: &str) -> JsValue {
    let options = js_sys::Object::new();
    // Setting a property of a fresh object cannot fail.
    let _ = js_sys::Reflect::set(&options, &word.into(), &JsValue::TRUE);
    options.into()
}

fn to_js(option: &Value) -> JsValue {
    js_sys::JSON::parse(&option.to_string()).unwrap_or(JsValue::NULL)
}
