package strategy

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metatable "k8s.io/apimachinery/pkg/api/meta/table"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// table turns objects of a Kind into rows for people.
type table struct{ kind Kind }

// ConvertToTable implements rest.TableConvertor.
func (t table) ConvertToTable(_ context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	result := &metav1.Table{}
	if list, err := meta.ListAccessor(obj); err == nil {
		result.ResourceVersion = list.GetResourceVersion()
		result.Continue = list.GetContinue()
		result.RemainingItemCount = list.GetRemainingItemCount()
	} else if common, err := meta.CommonAccessor(obj); err == nil {
		result.ResourceVersion = common.GetResourceVersion()
	}
	if tableOptions, ok := options.(*metav1.TableOptions); !ok || !tableOptions.NoHeaders {
		result.ColumnDefinitions = t.head()
	}
	var err error
	result.Rows, err = metatable.MetaToTableRow(obj, func(obj runtime.Object, _ metav1.Object, name, age string) ([]any, error) {
		cells := append([]any{name}, t.kind.cells(obj)...)
		return append(cells, age), nil
	})
	return result, err
}

func (t table) head() []metav1.TableColumnDefinition {
	head := []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name", Description: "Name of the object."}}
	for _, column := range t.kind.columns {
		definition := metav1.TableColumnDefinition{Name: column.name, Type: "string", Description: column.description}
		if column.wide {
			definition.Priority = 1
		}
		if column.number {
			definition.Type = "integer"
		}
		head = append(head, definition)
	}
	return append(head, metav1.TableColumnDefinition{Name: "Age", Type: "string", Description: "Time since the object was created."})
}
