// The syntax tree of a template. Built once by the parser, never changed afterwards.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/chat/jinja_runtime.h"

namespace plumb::jinja {

enum class ExprKind : uint8_t {
  kConstant,
  kName,
  kList,
  kTuple,
  kDict,  // parts: key, value, key, value, ...
  kUnaryMinus,
  kUnaryPlus,
  kNot,
  kBinary,
  kConcat,   // a ~ b ~ c
  kCompare,  // parts: first, then one operand for each of `compares`
  kAnd,
  kOr,
  kConditional,  // parts: test, then, and otherwise where given
  kAttribute,    // parts: object; name
  kItem,         // parts: object, key
  kSlice,        // parts: object, start, stop, step; absent ones are null
  kCall,         // parts: callee
  kFilter,
  kTest,          // parts: value, absent in a filter block; name
  kNamespaceRef,  // an assignment target: name.attribute
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;  // *args, **kwargs
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  BinaryOp op = BinaryOp::kAdd;
  int line = 0;
  int depth = 1;  // of the tree below
  std::string name, attribute;
  Value constant;
  std::vector<ExprPtr> parts;
  std::vector<CompareOp> compares;
  std::unique_ptr<CallArguments> arguments;
};

enum class StatementKind : uint8_t {
  kText,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kGeneration,
  kBreak,
  kContinue,
};

struct Statement;
using Body = std::vector<Statement>;

struct Signature {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

struct Branch;

struct Statement {
  StatementKind kind = StatementKind::kText;
  int line = 0;
  std::string text;
  ExprPtr target, value;  // of for, set; what is printed or called
  ExprPtr condition;      // of `for ... if`
  ExprPtr filter;         // of a set or filter block
  Body body, otherwise;
  std::vector<Branch> branches;                       // of if
  std::vector<std::pair<ExprPtr, ExprPtr>> bindings;  // of with
  std::shared_ptr<Signature> signature;               // of macro and call block
};

struct Branch {
  ExprPtr test;
  Body body;
};

}  // namespace plumb::jinja
