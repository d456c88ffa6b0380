// Filters, tests, methods and functions that chat templates use.
#pragma once

#include <functional>
#include <string>

#include "data/templates/jinja/syntax.hpp"

namespace lora_dist::jinja {

using Filter = std::function<Value(const Value& value, const Values& arguments)>;
using Test = std::function<bool(const Value& value, const Values& arguments)>;

/// Errors  Failure (unknown): no such filter or test here.
const Filter& filter_named(const std::string& name);
const Test& test_named(const std::string& name);

bool is_function(const std::string& name);
/// raise_exception, range, namespace, dict, strftime_now.
Value call_function(const std::string& name, const Values& arguments, const Scope& scope);
/// A method of a string or a mapping.
Value call_method(const Value& object, const std::string& name, const Values& arguments);

}  // namespace lora_dist::jinja
