#include "core/base/check.h"
#include "core/chat/jinja_evaluator.h"

namespace plumb::jinja {

Value Evaluator::eval(const Expr& expr, const ScopePtr& scope) {
  const Depth depth(depth_, kMaxEvalDepth, "blocks and calls nested");
  spend();
  line_ = expr.line;
  return eval_kind(expr, scope);
}

Value Evaluator::eval_kind(const Expr& expr, const ScopePtr& scope) {
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return eval_name(expr, scope);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_sequence(expr, scope);
    case ExprKind::kDict:
      return eval_dict(expr, scope);
    case ExprKind::kUnaryMinus:
    case ExprKind::kUnaryPlus:
    case ExprKind::kNot:
      return eval_unary(expr, scope);
    case ExprKind::kBinary:
      return eval_binary(expr, scope);
    case ExprKind::kConcat:
      return eval_concat(expr, scope);
    case ExprKind::kCompare:
      return eval_compare(expr, scope);
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return eval_logic(expr, scope);
    case ExprKind::kConditional:
      return eval_conditional(expr, scope);
    case ExprKind::kAttribute:
    case ExprKind::kItem:
      return eval_access(expr, scope);
    case ExprKind::kSlice:
      return eval_slice(expr, scope);
    case ExprKind::kCall:
      return eval_call(expr, scope);
    case ExprKind::kFilter:
      return eval_filter(expr, scope);
    case ExprKind::kTest:
      return eval_test(expr, scope);
    case ExprKind::kNamespaceRef:
      break;
  }
  PLUMB_CHECK(false);
  return Value();
}

Value Evaluator::eval_name(const Expr& expr, const ScopePtr& scope) {
  for (const Scope* at = scope.get(); at != nullptr; at = at->parent.get()) {
    const auto it = at->variables.find(expr.name);
    if (it != at->variables.end()) return it->second;
  }
  if (auto global = find_global(expr.name)) return *global;
  return Value::undefined(fmt::format("'{}' is undefined", expr.name));
}

Value Evaluator::eval_sequence(const Expr& expr, const ScopePtr& scope) {
  List items;
  items.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) items.push_back(eval(*part, scope));
  return list(std::move(items), expr.kind == ExprKind::kList ? Kind::kList : Kind::kTuple);
}

Value Evaluator::eval_dict(const Expr& expr, const ScopePtr& scope) {
  auto dict = std::make_shared<DictObject>();
  dict->depth = 1;
  for (size_t i = 0; i < expr.parts.size(); i += 2) {
    const Value key = eval(*expr.parts[i], scope);
    dict->set(*this, key, eval(*expr.parts[i + 1], scope));
  }
  return Value(Kind::kDict, std::move(dict));
}

Value Evaluator::eval_unary(const Expr& expr, const ScopePtr& scope) {
  const Value value = eval(*expr.parts[0], scope);
  line_ = expr.line;
  if (expr.kind == ExprKind::kNot) return Value::boolean(!truthy(*this, value));
  if (expr.kind == ExprKind::kUnaryMinus) return negate(value);
  if (value.is_undefined()) fail("{}", value.as_text());
  if (!value.is_number()) fail("unary + does not apply to {}", type_name(value));
  return value.is(Kind::kFloat) ? value : Value::integer(value.as_integer());
}

Value Evaluator::eval_binary(const Expr& expr, const ScopePtr& scope) {
  const Value left = eval(*expr.parts[0], scope);
  const Value right = eval(*expr.parts[1], scope);
  line_ = expr.line;
  return binary(*this, expr.op, left, right);
}

Value Evaluator::eval_concat(const Expr& expr, const ScopePtr& scope) {
  TextSink sink(*this);
  for (const ExprPtr& part : expr.parts) print(*this, eval(*part, scope), &sink);
  return sink.finish();
}

Value Evaluator::eval_compare(const Expr& expr, const ScopePtr& scope) {
  Value left = eval(*expr.parts[0], scope);
  for (size_t i = 0; i < expr.compares.size(); ++i) {
    Value right = eval(*expr.parts[i + 1], scope);
    line_ = expr.line;
    if (!compare(*this, expr.compares[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

// The value that decided, not its truth.
Value Evaluator::eval_logic(const Expr& expr, const ScopePtr& scope) {
  Value left = eval(*expr.parts[0], scope);
  if (truthy(*this, left) == (expr.kind == ExprKind::kOr)) return left;
  return eval(*expr.parts[1], scope);
}

Value Evaluator::eval_conditional(const Expr& expr, const ScopePtr& scope) {
  if (truthy(*this, eval(*expr.parts[0], scope))) return eval(*expr.parts[1], scope);
  if (expr.parts.size() > 2) return eval(*expr.parts[2], scope);
  return Value::undefined("the inline if is false and has no else");
}

Value Evaluator::eval_access(const Expr& expr, const ScopePtr& scope) {
  const Value object = eval(*expr.parts[0], scope);
  if (expr.kind == ExprKind::kAttribute) {
    line_ = expr.line;
    return get_attribute(*this, object, expr.name);
  }
  const Value key = eval(*expr.parts[1], scope);
  line_ = expr.line;
  return get_item(*this, object, key);
}

Value Evaluator::eval_slice(const Expr& expr, const ScopePtr& scope) {
  const Value object = eval(*expr.parts[0], scope);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i)
    if (expr.parts[i + 1]) bounds[i] = eval(*expr.parts[i + 1], scope);
  line_ = expr.line;
  return get_slice(*this, object, bounds[0], bounds[1], bounds[2]);
}

Value Evaluator::eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller) {
  const Value callee = eval(*expr.parts[0], scope);
  Arguments arguments = eval_arguments(*expr.arguments, scope);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = expr.line;
  return call(*this, callee, arguments);
}

// `input` stands for the innermost value of a filter or set block.
Value Evaluator::eval_filter(const Expr& expr, const ScopePtr& scope, const Value* input) {
  const Expr* inner = expr.parts[0].get();
  Value value;
  if (inner == nullptr)
    value = *input;
  else if (input != nullptr)
    value = eval_filter(*inner, scope, input);
  else
    value = eval(*inner, scope);
  const Arguments arguments = eval_arguments(*expr.arguments, scope);
  line_ = expr.line;
  return apply_filter(*this, expr.name, value, arguments);
}

Value Evaluator::eval_test(const Expr& expr, const ScopePtr& scope) {
  const Value value = eval(*expr.parts[0], scope);
  const Arguments arguments = eval_arguments(*expr.arguments, scope);
  line_ = expr.line;
  return Value::boolean(apply_test(*this, expr.name, value, arguments));
}

Arguments Evaluator::eval_arguments(const CallArguments& given, const ScopePtr& scope) {
  Arguments arguments;
  for (const ExprPtr& part : given.positional) arguments.positional.push_back(eval(*part, scope));
  for (const auto& [name, part] : given.named)
    arguments.named.emplace_back(name, eval(*part, scope));
  if (given.star || given.star_star) spread(given, scope, &arguments);
  return arguments;
}

void Evaluator::spread(const CallArguments& given, const ScopePtr& scope, Arguments* arguments) {
  if (given.star) {
    for (const Value& item : to_list(*this, eval(*given.star, scope)))
      arguments->positional.push_back(item);
  }
  if (!given.star_star) return;
  const Value mapping = eval(*given.star_star, scope);
  if (!mapping.is(Kind::kDict)) fail("** needs a dict, found {}", type_name(mapping));
  for (const auto& [key, value] : mapping.as<DictObject>().items) {
    if (!key.is_string()) fail("** needs names as keys, found {}", type_name(key));
    for (const auto& [name, other] : arguments->named)
      if (name == key.as_text()) fail("the argument '{}' is given twice", name);
    spend(arguments->named.size() / 8);
    arguments->named.emplace_back(key.as_text(), value);
  }
}

}  // namespace plumb::jinja
