// Everything that Python calls: circuitnn::simulate and its derivatives in reverse mode (adjoint) and forward mode
// (tangent).
#pragma once

#include "adjoint.hpp"
#include "tangent.hpp"

// The functions a compiled circuit shows to Python, each in a library of its own; _LANES: several recordings side by
// side. report [count, Statistics::size].
#define CIRCUITNN_SIMULATE_AS(Circuit, Real)                                                                           \
    extern "C" void circuitnn_function(const circuitnn::Batch* batch, const double* u, double* x, double* w,           \
                                       const double* theta, double* y, double* xs, double* ws, int64_t every,          \
                                       int64_t* report) {                                                              \
        circuitnn::Statistics statistics[circuitnn::Traits<Real>::lanes];                                              \
        circuitnn::simulate<Circuit, Real>(*batch, u, x, w, theta, y, xs, ws, every, statistics);                      \
        for (int64_t k = 0; k < batch->count; ++k) statistics[k].report(report + k * circuitnn::Statistics::size);     \
    }
#define CIRCUITNN_ADJOINT_AS(Circuit, Real)                                                                            \
    extern "C" void circuitnn_function(const circuitnn::Batch* batch, const double* u, const double* xs,               \
                                       const double* ws, const double* theta, const double* y_bar, double* x_bar,      \
                                       double* u_bar, double* theta_bar) {                                             \
        circuitnn::adjoint<Circuit, Real>(*batch, u, xs, ws, theta, y_bar, x_bar, u_bar, theta_bar);                   \
    }
#define CIRCUITNN_SIMULATE(Circuit) CIRCUITNN_SIMULATE_AS(Circuit, double)
#define CIRCUITNN_SIMULATE_LANES(Circuit) CIRCUITNN_SIMULATE_AS(Circuit, circuitnn::DoubleLanes)
#define CIRCUITNN_ADJOINT(Circuit) CIRCUITNN_ADJOINT_AS(Circuit, double)
#define CIRCUITNN_ADJOINT_LANES(Circuit) CIRCUITNN_ADJOINT_AS(Circuit, circuitnn::DoubleLanes)
#define CIRCUITNN_TANGENT(Circuit)                                                                                     \
    extern "C" void circuitnn_function(const circuitnn::Batch* batch, const double* u, double* x, double* w,           \
                                       const double* theta, const circuitnn::ThetaTangent* change, double* dx,         \
                                       const double* du, double* y, double* dy, int64_t* report) {                     \
        circuitnn::Statistics statistics;                                                                              \
        circuitnn::tangent<Circuit>(*batch, u, x, w, theta, *change, dx, du, y, dy, statistics);                       \
        statistics.report(report);                                                                                     \
    }
