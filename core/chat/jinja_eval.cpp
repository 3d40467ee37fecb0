#include "core/chat/jinja_eval.h"

#include <memory>
#include <unordered_map>

#include "core/base/check.h"

namespace plumb::jinja {
namespace {

// for, macro, call, filter, with, set and generation blocks open one; if does not.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::unordered_map<std::string, Value> variables;
};
using ScopePtr = std::shared_ptr<Scope>;

ScopePtr open_scope(const ScopePtr& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}

struct MacroObject : Object {
  const Signature* signature = nullptr;
  const Body* body = nullptr;
  ScopePtr scope;  // where it was defined
};

// What stopped a body before its end.
enum class Flow : uint8_t { kNext, kBreak, kContinue };

class Evaluator final : public Runtime {
 public:
  explicit Evaluator(std::optional<std::tm> now) : Runtime(now) {}
  ~Evaluator() override;

  std::string run(const Body& body, const Variables& variables);
  Value call_macro(const Value& callee, const Arguments& arguments) override;

 private:
  friend struct ConditionIterator;
  class Depth;

  // Statements.
  Flow run_body(const Body& body, const ScopePtr& scope, TextSink& out);
  Flow run_statement(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_if(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_for(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_set_block(const Statement& statement, const ScopePtr& scope);
  Flow run_filter_block(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_with(const Statement& statement, const ScopePtr& scope, TextSink& out);
  void run_call_block(const Statement& statement, const ScopePtr& scope, TextSink& out);
  void assign(const Expr& target, const Value& value, const ScopePtr& scope);
  void assign_attribute(const Expr& target, const Value& value, const ScopePtr& scope);
  Value make_macro(const Statement& statement, const ScopePtr& scope);
  void bind_macro(const MacroObject& macro, const Arguments& arguments, const ScopePtr& scope);

  // Expressions: one function a kind, so that recursion costs small stack frames.
  Value eval(const Expr& expr, const ScopePtr& scope);
  Value eval_kind(const Expr& expr, const ScopePtr& scope);
  Value eval_name(const Expr& expr, const ScopePtr& scope);
  Value eval_sequence(const Expr& expr, const ScopePtr& scope);
  Value eval_dict(const Expr& expr, const ScopePtr& scope);
  Value eval_unary(const Expr& expr, const ScopePtr& scope);
  Value eval_binary(const Expr& expr, const ScopePtr& scope);
  Value eval_concat(const Expr& expr, const ScopePtr& scope);
  Value eval_compare(const Expr& expr, const ScopePtr& scope);
  Value eval_logic(const Expr& expr, const ScopePtr& scope);
  Value eval_conditional(const Expr& expr, const ScopePtr& scope);
  Value eval_access(const Expr& expr, const ScopePtr& scope);
  Value eval_slice(const Expr& expr, const ScopePtr& scope);
  Value eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller = nullptr);
  Value eval_filter(const Expr& expr, const ScopePtr& scope, const Value* input = nullptr);
  Value eval_test(const Expr& expr, const ScopePtr& scope);
  Arguments eval_arguments(const CallArguments& given, const ScopePtr& scope);
  void spread(const CallArguments& given, const ScopePtr& scope, Arguments* arguments);

  int line_ = 0;  // of what is being run
  int depth_ = 0, macro_depth_ = 0;
  std::vector<std::shared_ptr<MacroObject>> macros_;
};

class Evaluator::Depth {
 public:
  explicit Depth(int& depth, int limit, const char* what) : depth_(depth) {
    if (depth_ >= limit) fail("{} deeper than {} levels", what, limit);
    ++depth_;
  }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int& depth_;
};

// `for x in source if condition`, tested as the loop reaches each item.
struct ConditionIterator : IteratorObject {
  Evaluator* evaluator = nullptr;
  const Statement* statement = nullptr;
  ScopePtr scope;
  std::shared_ptr<IteratorObject> source;

  bool next(Runtime& runtime, Value* item) override {
    while (source->next(runtime, item)) {
      const ScopePtr inner = open_scope(scope);
      evaluator->assign(*statement->target, *item, inner);
      if (truthy(runtime, evaluator->eval(*statement->condition, inner))) return true;
    }
    return false;
  }
};

// Macros hold the scope that holds them; all are let go here, one by one.
Evaluator::~Evaluator() {
  for (const auto& macro : macros_) macro->scope.reset();
}

std::string Evaluator::run(const Body& body, const Variables& variables) {
  TextSink out(*this);
  try {
    auto root = std::make_shared<Scope>();
    for (const auto& [name, json] : variables)
      root->variables[std::string(name)] = from_json(*this, *json, std::string(name));
    run_body(body, root, out);
    return out.take();
  } catch (Failure& failure) {
    if (failure.line == 0) failure.line = line_;
    throw;
  }
}

Flow Evaluator::run_body(const Body& body, const ScopePtr& scope, TextSink& out) {
  const Depth depth(depth_, kMaxEvalDepth, "blocks and calls nested");
  for (const Statement& statement : body) {
    spend();
    line_ = statement.line;
    const Flow flow = run_statement(statement, scope, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Flow Evaluator::run_statement(const Statement& statement, const ScopePtr& scope, TextSink& out) {
  switch (statement.kind) {
    case StatementKind::kText: out.add(statement.text); break;
    case StatementKind::kOutput: print(*this, eval(*statement.value, scope), &out); break;
    case StatementKind::kIf: return run_if(statement, scope, out);
    case StatementKind::kFor: return run_for(statement, scope, out);
    case StatementKind::kSet:
      assign(*statement.target, eval(*statement.value, scope), scope);
      break;
    case StatementKind::kSetBlock: return run_set_block(statement, scope);
    case StatementKind::kMacro:
      scope->variables[statement.signature->name] = make_macro(statement, scope);
      break;
    case StatementKind::kCallBlock: run_call_block(statement, scope, out); break;
    case StatementKind::kFilterBlock: return run_filter_block(statement, scope, out);
    case StatementKind::kWith: return run_with(statement, scope, out);
    case StatementKind::kGeneration: return run_body(statement.body, open_scope(scope), out);
    case StatementKind::kBreak: return Flow::kBreak;
    case StatementKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNext;
}

Flow Evaluator::run_if(const Statement& statement, const ScopePtr& scope, TextSink& out) {
  for (const Branch& branch : statement.branches)
    if (truthy(*this, eval(*branch.test, scope))) return run_body(branch.body, scope, out);
  return run_body(statement.otherwise, scope, out);
}

Flow Evaluator::run_for(const Statement& statement, const ScopePtr& scope, TextSink& out) {
  const Value items = eval(*statement.value, scope);
  line_ = statement.line;
  const auto loop = std::make_shared<LoopObject>();
  loop->source = iterate(*this, items);
  if (statement.condition) {
    auto filtered = std::make_shared<ConditionIterator>();
    filtered->evaluator = this;
    filtered->statement = &statement;
    filtered->scope = scope;
    filtered->source = std::move(loop->source);
    loop->source = std::move(filtered);
  } else if (!items.is(Kind::kIterator)) {
    loop->known_length = length_of(*this, items);
  }
  struct Finish {
    LoopObject& loop;
    ~Finish() { loop.finish(); }
  } const finish{*loop};

  const Value loop_value(Kind::kLoop, loop);
  bool any = false;
  while (loop->advance(*this)) {
    spend();
    any = true;
    const ScopePtr inner = open_scope(scope);
    assign(*statement.target, *loop->current, inner);
    inner->variables["loop"] = loop_value;
    if (run_body(statement.body, inner, out) == Flow::kBreak) break;
    line_ = statement.line;
  }
  return any ? Flow::kNext : run_body(statement.otherwise, open_scope(scope), out);
}

Flow Evaluator::run_set_block(const Statement& statement, const ScopePtr& scope) {
  const ScopePtr inner = open_scope(scope);
  TextSink captured(*this);
  const Flow flow = run_body(statement.body, inner, captured);
  if (flow != Flow::kNext) return flow;
  Value value = captured.finish();
  if (statement.filter) value = eval_filter(*statement.filter, inner, &value);
  assign(*statement.target, value, scope);
  return Flow::kNext;
}

Flow Evaluator::run_filter_block(const Statement& statement, const ScopePtr& scope, TextSink& out) {
  const ScopePtr inner = open_scope(scope);
  TextSink captured(*this);
  const Flow flow = run_body(statement.body, inner, captured);
  if (flow != Flow::kNext) return flow;
  const Value value = captured.finish();
  print(*this, eval_filter(*statement.filter, inner, &value), &out);
  return Flow::kNext;
}

Flow Evaluator::run_with(const Statement& statement, const ScopePtr& scope, TextSink& out) {
  const ScopePtr inner = open_scope(scope);
  for (const auto& [target, value] : statement.bindings) assign(*target, eval(*value, scope), inner);
  return run_body(statement.body, inner, out);
}

void Evaluator::run_call_block(const Statement& statement, const ScopePtr& scope, TextSink& out) {
  const Value caller = make_macro(statement, scope);
  print(*this, eval_call(*statement.value, scope, &caller), &out);
}

void Evaluator::assign(const Expr& target, const Value& value, const ScopePtr& scope) {
  if (target.kind == ExprKind::kName) {
    scope->variables[target.name] = value;
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) return assign_attribute(target, value, scope);
  const List items = to_list(*this, value);
  if (items.size() != target.parts.size())
    fail("cannot unpack {} values into {} names", items.size(), target.parts.size());
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], scope);
}

void Evaluator::assign_attribute(const Expr& target, const Value& value, const ScopePtr& scope) {
  const Value space = eval_name(target, scope);
  if (space.is_undefined()) fail("{}", space.as_text());
  if (!space.is(Kind::kNamespace))
    fail("cannot assign '{}.{}': only attributes of a namespace can be set, '{}' is a {}",
         target.name, target.attribute, target.name, type_name(space));
  auto& attributes = space.as<NamespaceObject>().attributes;
  spend(attributes.size() / 8);
  for (auto& [name, old] : attributes) {
    if (name != target.attribute) continue;
    old = value;
    return;
  }
  attributes.emplace_back(target.attribute, value);
}

Value Evaluator::make_macro(const Statement& statement, const ScopePtr& scope) {
  if (macros_.size() >= kMaxRetained) fail("more than {} macros and call blocks", kMaxRetained);
  auto macro = std::make_shared<MacroObject>();
  macro->signature = statement.signature.get();
  macro->body = &statement.body;
  macro->scope = scope;
  macros_.push_back(macro);
  return Value(Kind::kMacro, std::move(macro));
}

Value Evaluator::call_macro(const Value& callee, const Arguments& arguments) {
  const Depth depth(macro_depth_, kMaxMacroDepth, "macros call each other");
  const auto& macro = callee.as<MacroObject>();
  const ScopePtr scope = open_scope(macro.scope);
  bind_macro(macro, arguments, scope);
  TextSink out(*this);
  run_body(*macro.body, scope, out);
  return out.finish();
}

void Evaluator::bind_macro(const MacroObject& macro, const Arguments& arguments,
                           const ScopePtr& scope) {
  const Signature& signature = *macro.signature;
  const size_t count = signature.parameters.size(), given = arguments.positional.size();
  if (given > count && !signature.uses_varargs)
    fail("the macro '{}' takes at most {} arguments, found {}", signature.name, count, given);
  std::unordered_map<std::string, const Value*> named;
  std::vector<size_t> absent;
  auto extra = std::make_shared<DictObject>();
  for (const auto& [name, value] : arguments.named) named[name] = &value;

  for (size_t i = 0; i < count; ++i) {
    const std::string& name = signature.parameters[i];
    const auto by_name = named.find(name);
    Value& slot = scope->variables[name];
    if (i < given) {
      slot = arguments.positional[i];  // the same name again is refused below
    } else if (by_name != named.end()) {
      slot = *by_name->second;
      named.erase(by_name);
    } else {
      slot = Value::undefined(fmt::format("parameter '{}' was not provided", name));
      absent.push_back(i);
    }
  }
  // Defaults see the parameters before them.
  const size_t first_default = count - signature.defaults.size();
  for (const size_t i : absent) {
    if (i < first_default) continue;
    const Value value = eval(*signature.defaults[i - first_default], scope);
    scope->variables[signature.parameters[i]] = value;
  }
  if (signature.uses_caller) {
    const auto caller = named.find("caller");
    scope->variables["caller"] =
        caller == named.end() ? Value::undefined("no caller is defined") : *caller->second;
    if (caller != named.end()) named.erase(caller);
  }
  for (const auto& [name, value] : arguments.named) {
    if (!named.contains(name)) continue;
    if (!signature.uses_kwargs)
      fail("the macro '{}' takes no argument named '{}'", signature.name, name);
    extra->set(*this, Value::text(name), value);
  }
  if (signature.uses_kwargs) scope->variables["kwargs"] = Value(Kind::kDict, extra);
  if (signature.uses_varargs) {
    List rest;
    for (size_t i = count; i < given; ++i) rest.push_back(arguments.positional[i]);
    scope->variables["varargs"] = list(std::move(rest), Kind::kTuple);
  }
}

Value Evaluator::eval(const Expr& expr, const ScopePtr& scope) {
  const Depth depth(depth_, kMaxEvalDepth, "blocks and calls nested");
  spend();
  line_ = expr.line;
  return eval_kind(expr, scope);
}

Value Evaluator::eval_kind(const Expr& expr, const ScopePtr& scope) {
  switch (expr.kind) {
    case ExprKind::kConstant: return expr.constant;
    case ExprKind::kName: return eval_name(expr, scope);
    case ExprKind::kList:
    case ExprKind::kTuple: return eval_sequence(expr, scope);
    case ExprKind::kDict: return eval_dict(expr, scope);
    case ExprKind::kUnaryMinus:
    case ExprKind::kUnaryPlus:
    case ExprKind::kNot: return eval_unary(expr, scope);
    case ExprKind::kBinary: return eval_binary(expr, scope);
    case ExprKind::kConcat: return eval_concat(expr, scope);
    case ExprKind::kCompare: return eval_compare(expr, scope);
    case ExprKind::kAnd:
    case ExprKind::kOr: return eval_logic(expr, scope);
    case ExprKind::kConditional: return eval_conditional(expr, scope);
    case ExprKind::kAttribute:
    case ExprKind::kItem: return eval_access(expr, scope);
    case ExprKind::kSlice: return eval_slice(expr, scope);
    case ExprKind::kCall: return eval_call(expr, scope);
    case ExprKind::kFilter: return eval_filter(expr, scope);
    case ExprKind::kTest: return eval_test(expr, scope);
    case ExprKind::kNamespaceRef: break;
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
  if (inner == nullptr) value = *input;
  else if (input != nullptr) value = eval_filter(*inner, scope, input);
  else value = eval(*inner, scope);
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
  for (const auto& [name, part] : given.named) arguments.named.emplace_back(name, eval(*part, scope));
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

}  // namespace

std::string render(const Body& body, const Variables& variables, std::optional<std::tm> now) {
  return Evaluator(now).run(body, variables);
}

}  // namespace plumb::jinja
