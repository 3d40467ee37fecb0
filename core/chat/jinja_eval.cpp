#include "core/chat/jinja_eval.h"

#include <memory>
#include <unordered_map>

#include "core/chat/jinja_evaluator.h"

namespace plumb::jinja {

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
    case StatementKind::kText:
      out.add(statement.text);
      break;
    case StatementKind::kOutput:
      print(*this, eval(*statement.value, scope), &out);
      break;
    case StatementKind::kIf:
      return run_if(statement, scope, out);
    case StatementKind::kFor:
      return run_for(statement, scope, out);
    case StatementKind::kSet:
      assign(*statement.target, eval(*statement.value, scope), scope);
      break;
    case StatementKind::kSetBlock:
      return run_set_block(statement, scope);
    case StatementKind::kMacro:
      scope->variables[statement.signature->name] = make_macro(statement, scope);
      break;
    case StatementKind::kCallBlock:
      run_call_block(statement, scope, out);
      break;
    case StatementKind::kFilterBlock:
      return run_filter_block(statement, scope, out);
    case StatementKind::kWith:
      return run_with(statement, scope, out);
    case StatementKind::kGeneration:
      return run_body(statement.body, open_scope(scope), out);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
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
  for (const auto& [target, value] : statement.bindings)
    assign(*target, eval(*value, scope), inner);
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
    fail("cannot assign '{}.{}': only attributes of a namespace can be set, '{}' is of type {}",
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

std::string render(const Body& body, const Variables& variables, std::optional<std::tm> now) {
  return Evaluator(now).run(body, variables);
}

}  // namespace plumb::jinja
